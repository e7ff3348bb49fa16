// The feed: the last events in words, newest first. It is no live region: a copy of a thousand
// files must not be read aloud. What matters is said elsewhere.

import { call } from "./api.js";
import { $, el, icon } from "./dom.js";
import * as format from "./format.js";
import { t } from "./strings.js";

/** Lines on show; older ones are in the history of each entry. */
const LINES = 60;
/** More than this between two drawings nobody can read. */
const AT_ONCE = 12;

const name = (path) => path.slice(path.lastIndexOf("/") + 1);

/** The words for an event, as `[icon, text, title]`, or null for what says nothing to a person. */
export function describe({ type, data }) {
  if (type === "file_processed") {
    return data.success
      ? ["processed", t("fedProcessed", { name: data.filename, time: duration(data.duration_ms) }), data.filepath]
      : ["failed", t("fedFailed", { name: data.filename, error: data.error ?? "" }), data.filepath];
  }
  if (type === "watcher_status") return ["health", t("fedWatcher", { state: t(`watchState.${data.state}`) }), ""];
  if (type === "error") return ["failed", data.message, data.hint ?? ""];
  if (type === "reset") return ["info", data.reason === "restart" ? t("fedReset") : t("fedGap"), ""];
  if (type === "job_updated") {
    if (data.status === "queued" || data.status === "running") return null;
    return [data.status === "completed" ? "processed" : "failed", `${t(`job.${data.action}`)}: ${t(`jobStatus.${data.status}`)}`, ""];
  }
  if (type === "cache_updated") return describeDelta(data);
  return null;
}

const duration = (ms) => (ms < 1000 ? format.millis(ms) : format.duration(ms / 1000));

function describeDelta(data) {
  if (data.truncated) return ["changed", t("fedMany"), data.message];
  const { added, removed } = data;
  // An entry that only moved on in its processing is told by file_processed.
  const changed = data.changed.filter((entry) => entry.status === "unprocessed");
  if (added.length === 1) return ["added", t("fedAdded", { name: added[0].name }), added[0].path];
  if (added.length > 1) return ["added", t("fedAddedMany", { n: added.length }), ""];
  if (removed.length > 0) return ["removed", t("fedRemoved", { n: removed.length }), ""];
  if (changed.length === 1) return ["changed", t("fedChanged", { name: changed[0].name }), changed[0].path];
  if (changed.length > 1) return ["changed", t("fedChangedMany", { n: changed.length }), ""];
  if (data.changed.length > 0) return null;
  if (!data.rebuild_complete) return ["info", t("fedRebuild"), data.message];
  return null;
}

export class Feed {
  constructor() {
    this.waiting = [];
    this.told = new Set();
    this.watcher = null;
    this.results = new Set(); // shown before past() comes, which must not show them again
  }

  /** Adds an event, unless it was added before. */
  add(event) {
    if (event.id && this.told.has(event.id)) return;
    if (event.id) this.told.add(event.id);
    if (this.told.size > 1000) this.told = new Set([...this.told].slice(-200));
    if (event.type === "watcher_status") {
      if (event.data.state === this.watcher) return;
      this.watcher = event.data.state;
    }
    if (event.type === "file_processed" && this.results.size < 100) this.results.add(`${event.data.file} ${event.data.duration_ms}`);
    const words = describe(event);
    if (!words) return;
    this.waiting.push([words, event.timestamp ?? Date.now() / 1000]);
    if (this.waiting.length > AT_ONCE) this.waiting.shift();
    this.timer ??= setTimeout(() => {
      this.timer = null;
      this.draw();
    }, 250);
  }

  /** Fills up with what was processed before this page was opened. */
  async past() {
    const { history } = await call("api/history?limit=20").catch(() => ({ history: [] }));
    const lines = history
      .filter((data) => !this.results.has(`${data.file} ${data.duration_ms}`))
      .map((data) => this.line(describe({ type: "file_processed", data }), data.timestamp));
    this.results.clear();
    $("feed").append(...lines);
    $("feed-empty").hidden = $("feed").children.length > 0;
  }

  line([kind, text, title], at) {
    return el("li", { title: title || null }, icon(kind), el("span", { class: "what", dir: "auto", text }),
      el("time", { datetime: format.iso(at), title: format.date(at), text: format.moment(at) }));
  }

  draw() {
    const feed = $("feed");
    const lines = this.waiting.map(([words, at]) => this.line(words, at));
    this.waiting = [];
    feed.prepend(...lines.reverse());
    while (feed.children.length > LINES) feed.lastChild.remove();
    $("feed-empty").hidden = feed.children.length > 0;
  }
}
