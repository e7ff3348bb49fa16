// Health: the folders and what is wrong with them, errors with their hints, and figures. What
// needs the owner is shown on top of the page as well, whatever part of it is open.

import { call } from "./api.js";
import { askDialog } from "./ask.js";
import { $, el, icon, say, setText, svg, toast } from "./dom.js";
import * as format from "./format.js";
import { recall, remember } from "./store.js";
import { t } from "./strings.js";

const MINUTES = 30;
const FIGURES_MS = 5000;
/** Marks for the states of a folder, told apart by shape as well as by colour. */
const marks = { crawling: "processing", watching: "processed", degraded: "failed", paused: "waiting", offline: "offline" };

export class Health {
  constructor() {
    this.status = null;
    this.errors = new Map();
    this.dismissed = new Set(recall("dismissed")?.split("\n") ?? []);
    this.buckets = new Map(); // minute → number of events
    this.since = Math.floor(Date.now() / 60_000); // what was before, this page has not seen
    this.watcherSwitch();
    $("rebuild").addEventListener("click", () => this.act("api/cache/rebuild", null, t("rebuildStarted")));
    this.plot();
  }

  /** Reads the figures as long as they are on the screen. Not needed for the first view. */
  follow() {
    setInterval(() => this.visible() && this.figures(), FIGURES_MS);
    new IntersectionObserver(([entry]) => {
      this.onScreen = entry.isIntersecting;
      if (this.onScreen) this.figures();
    }).observe($("figures"));
  }

  visible() {
    return this.onScreen && !document.hidden;
  }

  async act(path, body, done) {
    try {
      await call(path, { method: "POST", body });
      toast(done);
    } catch (error) {
      toast(t("failedCall", { message: error.message }));
    }
  }

  watcherSwitch() {
    const button = $("watcher");
    button.addEventListener("click", () => {
      const enabled = button.getAttribute("aria-checked") !== "true";
      this.act("api/watcher", { enabled }, enabled ? t("watcherResumed") : t("watcherPaused"));
    });
    this.showSwitch(true);
  }

  showSwitch(enabled) {
    $("watcher").setAttribute("aria-checked", String(enabled));
    setText($("watcher-text"), enabled ? t("watcherOn") : t("watcherOff"));
    $("watcher").title = enabled ? t("watcherTitle") : t("watcherTitleOff");
  }

  /** Takes the data of watcher_status. */
  watcher(data) {
    this.status = data;
    this.showSwitch(data.enabled);
    // An error of a folder is over when the folder is well again.
    for (const [key, error] of this.errors) {
      const folder = data.folders.find(({ name }) => name === error.folder);
      if (folder && (folder.state === "watching" || folder.state === "crawling")) this.errors.delete(key);
    }
    // One that comes back and goes away again is news.
    for (const { name, state } of data.folders) if (state !== "offline") this.dismissed.delete(`offline ${name}`);
    this.folders(data.folders);
    this.alerts();
  }

  folders(folders) {
    const rows = folders.map((folder) => {
      const numbers = [t("folderWatched", { watched: format.count(folder.watched), directories: format.count(folder.directories) })];
      if (folder.polled > 0) numbers.push(t("folderPolled", { polled: format.count(folder.polled) }));
      return el("li", { class: "folder", "data-state": folder.state },
        icon(marks[folder.state] ?? "info"),
        el("div", {},
          el("p", { class: "folder-head" }, el("strong", { dir: "auto", text: folder.name }), " ", el("span", { class: "folder-state", text: t(`folderState.${folder.state}`) })),
          el("p", { class: "faint", text: numbers.join(" · ") }),
          folder.message ? el("p", { class: "folder-message", text: folder.message }) : null,
          this.canAccept(folder) ? el("button", { type: "button", text: t("accept"), click: () => this.accept(folder.name) }) : null));
    });
    if (rows.length === 0) rows.push(el("li", { class: "faint", text: t("noFolders") }));
    const box = $("folders");
    // Redrawn only where something differs, so that the focus stays on its button.
    rows.forEach((row, index) => {
      const old = box.children[index];
      if (!old) box.append(row);
      else if (!old.isEqualNode(row)) old.replaceWith(row);
    });
    while (box.children.length > rows.length) box.lastChild.remove();
  }

  /** Whether it is another disk that keeps a folder offline, which the owner may take for its own. */
  canAccept({ name, state, message }) {
    return state === "offline" && (this.errors.has(`folder_other_disk ${name}`) || /another disk/i.test(message ?? ""));
  }

  async accept(name) {
    const choice = await askDialog({ title: t("acceptTitle", { name }), text: t("acceptText"), choices: [{ value: "yes", label: t("acceptDo"), primary: true }] });
    if (choice === "yes") await this.act(`api/folders/${encodeURIComponent(name)}/accept`, null, t("accepted"));
  }

  /** Takes an error event; the newest of a kind replaces the one before. */
  error({ id, data }, old) {
    this.errors.set(`${data.code} ${data.folder}`, { ...data, id });
    if (!old) say(data.message);
    this.alerts();
  }

  /** What was dismissed stays so in this browser, until it happens again. */
  dismiss(key) {
    this.dismissed = new Set([...this.dismissed, key].slice(-50));
    remember("dismissed", [...this.dismissed].join("\n"));
    this.alerts();
  }

  /** After a reset only what the server tells again is so. */
  forget() {
    this.errors.clear();
    this.alerts();
  }

  alerts() {
    const box = $("alerts");
    const wanted = [...this.errors.values()].map((error) => [error.id, error]);
    const offline = this.status?.folders.filter(({ name, state }) =>
      state === "offline" && !wanted.some(([, { folder }]) => folder === name)) ?? [];
    const all = [...wanted, ...offline.map(({ name, message }) => [`offline ${name}`, { message: `${name}: ${message ?? t("folderState.offline")}`, hint: null }])]
      .filter(([key]) => !this.dismissed.has(key)).slice(-3);
    const rows = all.map(([key, { message, hint }]) =>
      el("div", { class: "alert", "data-key": key }, icon("failed"), el("div", {}, el("p", { text: message }), hint && !message.includes(hint) ? el("p", { class: "hint", text: hint }) : null),
        el("button", { type: "button", class: "quiet icon-button", "aria-label": t("dismiss"), click: () => this.dismiss(key) }, icon("close"))));
    const same = rows.length === box.children.length && rows.every((row, index) => row.isEqualNode(box.children[index]));
    if (!same) box.replaceChildren(...rows);
    box.hidden = rows.length === 0;
    const limited = this.status?.folders.filter(({ name, state }) => state === "degraded" && !wanted.some(([, { folder }]) => folder === name)) ?? [];
    const bad = this.errors.size + offline.length + limited.length;
    setText($("health-badge"), String(bad));
    $("health-badge").hidden = bad === 0;
  }

  /** Counts an event that arrived, for the plot. */
  count() {
    const minute = Math.floor(Date.now() / 60_000);
    this.buckets.set(minute, (this.buckets.get(minute) ?? 0) + 1);
    this.drawing ??= setTimeout(() => {
      this.drawing = null;
      this.plot();
    }, 1000);
  }

  plot() {
    const now = Math.floor(Date.now() / 60_000);
    for (const minute of this.buckets.keys()) if (minute <= now - MINUTES) this.buckets.delete(minute);
    const values = Array.from({ length: MINUTES }, (_, index) => this.buckets.get(now - MINUTES + 1 + index) ?? 0);
    const max = Math.max(...values);
    const [width, height] = [300 / MINUTES, 60];
    const unseen = Math.max(0, MINUTES - 1 - (now - this.since));
    const bars = values.map((value, index) => {
      if (index < unseen) return "";
      const tall = value === 0 ? 1 : Math.max(3, (value / max) * height);
      return svg("rect", { x: index * width + 1, y: 64 - tall, width: width - 2, height: tall, class: value === 0 ? "none" : "some" });
    });
    $("plot").replaceChildren(...bars);
    setText($("plot-most"), max > 0 ? t("plotMost", { max: format.count(max) }) : "");
    const sum = format.count(values.reduce((one, other) => one + other, 0));
    $("plot").setAttribute("aria-label", t("plotLabel", { sum, max: format.count(max) }));
  }

  async figures() {
    this.plot();
    try {
      const [events, cache] = await Promise.all([call("api/events/stats"), call("api/cache/stats")]);
      this.version ??= (await call("api/version")).version;
      const crawl = cache.last_crawl;
      const latency = (ms) => (events.deliveries > 0 ? format.millis(ms) : "–");
      this.list([
        ["figureFiles", format.count(cache.files)],
        ["figureBytes", format.size(cache.bytes)],
        ["figureDirectories", format.count(cache.directories)],
        ["figureClients", format.count(events.active_clients)],
        ["figureEvents", format.count(events.total_events_broadcast)],
        ["figureLatency", latency(events.latency_ms.p50)],
        ["figureWorst", latency(events.latency_ms.p99)],
        ["figureCrawl", crawl ? format.took(1000 * crawl.duration_s) : "–"],
        ["figureUptime", format.duration(events.uptime_s)],
        ["figureVersion", this.version ?? "–"],
      ]);
    } catch {
      // The state in the header says that the server is away.
    }
  }

  list(pairs) {
    const box = $("figures");
    if (box.children.length !== pairs.length) {
      box.replaceChildren(...pairs.map(([name]) => el("div", {}, el("dt", { text: t(name) }), el("dd"))));
    }
    pairs.forEach(([, value], index) => setText(box.children[index].lastChild, value));
  }
}
