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
function describe({ type, data }) {
  if (type === "file_processed") {
    return data.success
      ? ["processed", t("fedProcessed", { name: data.filename, time: format.took(data.duration_ms) }), data.filepath]
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
    if (!describe(event)) return;
    this.waiting.push(event);
    if (this.waiting.length > AT_ONCE) this.waiting.shift();
    this.timer ??= setTimeout(() => {
      this.timer = null;
      this.draw();
    }, 250);
  }

  /** Fills up with what was processed before this page was opened. */
  async past() {
    const { history } = await call("api/history?limit=20").catch(() => ({ history: [] }));
    this.waiting.push(...history.map((data) => ({ type: "file_processed", data, timestamp: data.timestamp })));
    this.draw();
  }

  line(event, at) {
    const [kind, text, title] = describe(event);
    const line = el("li", { title: format.name(title) || null }, icon(kind), el("span", { class: "what", text }),
      el("time", { datetime: format.iso(at), title: format.date(at), text: format.moment(at) }));
    return Object.assign(line, { at, file: event.data.file });
  }

  /** Puts the lines where their times belong. The past and the stream both tell the last result. */
  draw() {
    const feed = $("feed");
    for (const event of this.waiting) {
      const at = event.timestamp ?? Date.now() / 1000;
      const line = this.line(event, at);
      const twin = (other) => other.file !== undefined && other.file === line.file && Math.abs(other.at - at) < 1
        && other.textContent === line.textContent;
      if ([...feed.children].some(twin)) continue;
      let next = feed.firstChild;
      while (next && next.at > at) next = next.nextSibling;
      feed.insertBefore(line, next);
    }
    this.waiting = [];
    while (feed.children.length > LINES) feed.lastChild.remove();
    $("feed-empty").hidden = feed.children.length > 0;
  }
}
