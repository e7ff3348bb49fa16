// One entry in full: what is known of it, its history, its duplicates, and what can be done.

import { call } from "./api.js";
import { $, el, icon } from "./dom.js";
import * as format from "./format.js";
import { startJob } from "./jobs.js";
import { link } from "./place.js";
import { stateOf } from "./row.js";
import { parent } from "./rows.js";
import { t } from "./strings.js";

export class Details {
  constructor() {
    this.id = null;
    const sheet = $("details");
    sheet.addEventListener("close", () => (this.id = null));
    // A click on what is behind closes it, as Escape does.
    sheet.addEventListener("click", (event) => event.target === sheet && sheet.close());
  }

  /** Opens with what is known already; the rest follows. */
  open(entry) {
    this.id = entry.id;
    this.draw(entry);
    if (!$("details").open) $("details").showModal();
    this.load();
  }

  /** Reads the entry again if a delta or a result concerns it. */
  changed(ids) {
    if (this.id === null || !ids.has(this.id)) return;
    this.due ??= setTimeout(() => {
      this.due = null;
      if (this.id !== null) this.load();
    }, 300);
  }

  async load() {
    const { id } = this;
    try {
      const [entry, { files: duplicates }] = await Promise.all([call(`api/files/${id}`), call(`api/files/${id}/duplicates`)]);
      if (this.id !== id) return;
      this.draw({ ...entry, duplicates });
    } catch (error) {
      if (this.id === id) this.note(error.status === 404 ? t("gone") : t("failedCall", { message: error.message }));
    }
  }

  note(text) {
    $("details").querySelector(".note").textContent = text;
  }

  draw(entry) {
    const state = stateOf(entry);
    const facts = [
      ["state", el("span", { class: `c-state s-${state}` }, icon(state), el("span", { text: t(`status.${state}`) }))],
      ["waiting", entry.waiting], ["error", entry.error],
      ["place", el("a", { href: link({ in: parent(entry.path), q: "", status: "all" }), dir: "auto", text: format.name(parent(entry.path)), click: () => $("details").close() })],
      ["fileSize", format.size(entry.size)], ["modified", format.date(entry.modified)],
      ["processedAt", entry.processed_at === null ? null : format.date(entry.processed_at)],
      ["fingerprint", entry.fingerprint && el("code", { text: entry.fingerprint })],
    ].filter(([, value]) => value !== null && value !== undefined && value !== "");
    const job = (action) => () => startJob({ action, files: [entry.id] });
    const within = $("details").contains(document.activeElement);
    const focused = document.activeElement?.dataset?.act ?? "title";
    $("details").replaceChildren(
      el("div", { class: "sheet-head" },
        el("h2", { id: "details-title", "data-act": "title", tabindex: "-1", dir: "auto", text: format.name(entry.name) }),
        el("button", { type: "button", class: "quiet icon-button", "data-act": "close", "aria-label": t("close"), click: () => $("details").close() }, icon("close"))),
      el("div", { class: "actions" },
        el("button", { type: "button", class: "primary", "data-act": "process", text: t("process"), click: job("process") }),
        el("button", { type: "button", "data-act": "verify", text: t("verify"), click: job("verify") })),
      el("p", { class: "note bad" }),
      el("dl", { class: "facts" }, ...facts.map(([name, value]) => el("div", {}, el("dt", { text: t(name) }), el("dd", { dir: "auto" }, value)))),
      ...this.historyOf(entry), ...this.duplicatesOf(entry),
    );
    // What had the focus was drawn anew; where it is gone, the new title is read out.
    if (within) $("details").querySelector(`[data-act="${focused}"]`)?.focus();
  }

  historyOf(entry) {
    if (!entry.history) return [];
    const lines = entry.history.map((item) => {
      const { timestamp: at, success, processor, error } = item;
      const text = success ? t("historyOk", { processor, time: format.took(item.duration_ms) }) : t("historyBad", { processor, error: error ?? "" });
      const output = item.output?.trim() === error ? null : item.output;
      return el("li", {}, icon(success ? "processed" : "failed"), el("span", { class: "what", text }),
        at ? el("time", { datetime: format.iso(at), title: format.date(at), text: format.when(at) }) : null,
        output ? el("pre", { tabindex: "0", dir: "auto", text: output }) : null);
    });
    const list = lines.length ? el("ol", { class: "feed" }, ...lines) : el("p", { class: "faint", text: t("noHistory") });
    return [el("h3", { text: t("history") }), list];
  }

  duplicatesOf({ duplicates }) {
    if (!duplicates) return []; // not read yet
    const lines = duplicates.map((other) => el("li", {},
      el("button", { type: "button", class: "link", dir: "auto", text: format.name(other.path), click: () => this.open(other) })));
    const list = lines.length ? el("ul", { class: "duplicates" }, ...lines) : el("p", { class: "faint", text: t("noDuplicates") });
    return [el("h3", { text: t("duplicates") }), list];
  }
}
