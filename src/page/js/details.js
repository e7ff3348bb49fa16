// One entry in full: what is known of it, its history, its duplicates, and what can be done.

import { call, query } from "./api.js";
import { $, el, icon } from "./dom.js";
import * as format from "./format.js";
import { startJob } from "./jobs.js";
import { stateOf } from "./row.js";
import { parent } from "./rows.js";
import { t } from "./strings.js";

/** Pages of duplicates to look through for the ones of this entry. */
const DUPLICATE_PAGES = 5;

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
      const entry = await call(`api/files/${id}`);
      if (this.id !== id) return;
      this.draw(entry, await this.duplicates(entry));
    } catch (error) {
      if (this.id === id) this.note(error.status === 404 ? t("gone") : t("failedCall", { message: error.message }));
    }
  }

  note(text) {
    $("details").querySelector(".note").textContent = text;
  }

  /** The other entries with the same content. */
  async duplicates(entry) {
    if (entry.duplicates) return entry.duplicates;
    if (!entry.fingerprint) return [];
    const first = entry.duplicate_of ?? entry.id;
    const found = entry.duplicate_of === null ? [] : [await call(`api/files/${first}`)];
    let cursor = null;
    for (let page = 0; page < DUPLICATE_PAGES; page += 1) {
      const { files, next } = await call(`api/files?${query({ status: "duplicate", limit: 1000, cursor })}`);
      found.push(...files.filter((other) => other.duplicate_of === first && other.id !== entry.id));
      cursor = next;
      if (!cursor) break;
    }
    return found;
  }

  draw(entry, duplicates = null) {
    const state = stateOf(entry);
    const facts = [
      ["state", el("span", { class: `c-state s-${state}` }, icon(state), el("span", { text: t(`status.${state}`) }))],
      ["waiting", entry.waiting], ["error", entry.error], ["place", parent(entry.path)],
      ["fileSize", format.size(entry.size)], ["modified", format.date(entry.modified)],
      ["processedAt", entry.processed_at === null ? null : format.date(entry.processed_at)],
      ["fingerprint", entry.fingerprint && el("code", { text: entry.fingerprint })],
    ].filter(([, value]) => value !== null && value !== undefined && value !== "");
    const job = (action) => () => startJob({ action, files: [entry.id] });
    const within = $("details").contains(document.activeElement);
    const focused = document.activeElement?.dataset?.act ?? "title";
    $("details").replaceChildren(
      el("div", { class: "sheet-head" },
        el("h2", { id: "details-title", "data-act": "title", tabindex: "-1", dir: "auto", text: entry.name }),
        el("button", { type: "button", class: "quiet icon-button", "data-act": "close", "aria-label": t("close"), click: () => $("details").close() }, icon("close"))),
      el("div", { class: "actions" },
        el("button", { type: "button", class: "primary", "data-act": "process", text: t("process"), click: job("process") }),
        el("button", { type: "button", "data-act": "verify", text: t("verify"), click: job("verify") })),
      el("p", { class: "note bad" }),
      el("dl", { class: "facts" }, ...facts.map(([name, value]) => el("div", {}, el("dt", { text: t(name) }), el("dd", { dir: "auto" }, value)))),
      ...this.historyOf(entry), ...this.duplicatesOf(duplicates),
    );
    // What had the focus was drawn anew; where it is gone, the new title is read out.
    if (within) $("details").querySelector(`[data-act="${focused}"]`)?.focus();
  }

  historyOf(entry) {
    if (!entry.history) return [];
    const lines = entry.history.map((item) => {
      const { timestamp: at, success, duration_ms: took } = item;
      const time = took < 1000 ? format.millis(took) : format.duration(took / 1000);
      const text = success ? t("historyOk", { processor: item.processor, time }) : t("historyBad", { processor: item.processor, error: item.error ?? "" });
      return el("li", {}, icon(success ? "processed" : "failed"), el("span", { class: "what", dir: "auto", text }),
        at ? el("time", { datetime: format.iso(at), title: format.date(at), text: format.when(at) }) : null,
        item.output ? el("pre", { tabindex: "0", dir: "auto", text: item.output }) : null);
    });
    const list = lines.length ? el("ol", { class: "feed" }, ...lines) : el("p", { class: "faint", text: t("noHistory") });
    return [el("h3", { text: t("history") }), list];
  }

  duplicatesOf(duplicates) {
    if (duplicates === null) return [];
    const lines = duplicates.map((other) => el("li", {},
      el("button", { type: "button", class: "link", dir: "auto", text: other.path, click: () => this.open(other) })));
    const list = lines.length ? el("ul", { class: "duplicates" }, ...lines) : el("p", { class: "faint", text: t("noDuplicates") });
    return [el("h3", { text: t("duplicates") }), list];
  }
}
