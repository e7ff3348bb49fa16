// The page: makes the parts and tells each what concerns it.

import { call } from "./api.js";
import { askDialog } from "./ask.js";
import { actOn, bulkActions } from "./bulk.js";
import { Details } from "./details.js";
import { $, el, say, setText } from "./dom.js";
import { Feed } from "./feed.js";
import { Health } from "./health.js";
import { Jobs } from "./jobs.js";
import { Library } from "./library.js";
import { Share } from "./share.js";
import { t, translate } from "./strings.js";
import { Sync } from "./sync.js";
import { themeButton } from "./theme.js";
import { views } from "./views.js";

const base = new URL(".", location.href);
const meta = (name) => new URL(document.querySelector(`meta[name="shelfcast-${name}"]`).content, base);
/** A clock that jumped this far means that the machine slept. */
const SLEEP_MS = 60_000;

translate(document);
$("host").textContent = location.hostname;
themeButton();

const jobs = new Jobs();
const feed = new Feed();
const health = new Health();
const details = new Details();
const library = new Library({ open: (entry) => details.open(entry), selection: () => bulk.draw(), act: actOn });
const bulk = bulkActions(library);
const view = views();

const sync = new Sync(async () => {
  const id = await library.read();
  share.cursor(id);
  return id;
}, deliver);

/** Gives an event to the parts it concerns. */
function deliver(event, old) {
  const { type, data } = event;
  if (!old) console.debug(`SSE Event: ${type}`, data);
  if (type === "reset") {
    jobs.forget();
    health.forget();
    checkVersion();
    if (shown.state === "polling") askState();
  } else if (type === "watcher_status") {
    health.watcher(data);
    library.setFolders(data.folders);
  } else if (type === "job_updated") jobs.update(data, old);
  else if (type === "error" && event.id) health.error(event, old);
  else if (type === "cache_updated" && !old) {
    library.delta(data);
    details.changed(new Set([...data.added, ...data.changed].map(({ id }) => id).concat(data.removed)));
  } else if (type === "file_processed" && !old) details.changed(new Set([data.file]));
  feed.add(event);
  if (!old) health.count();
}

const share = new Share(base, meta("worker"), (message) => {
  if (message.kind === "event") sync.arrived(message);
  else if (message.kind === "trouble") console.warn(`SSE: Connection error, will retry in ${message.seconds}s`);
  else if (message.kind === "state") showState(message);
  else if (message.kind === "welcome") {
    for (const event of message.known) sync.arrived(event);
    if (message.position) sync.arrived({ type: "position", id: message.position });
    showState(message.state);
  }
});

const icons = { live: "live", connecting: "waiting", waiting: "waiting", polling: "polling", offline: "offline" };
const words = { live: "liveLive", connecting: "liveConnecting", polling: "livePolling", offline: "liveOffline" };
let shown = { state: "", retryAt: null };

/** Shows how the page stands to the server; a change is also said, once. */
function showState(state) {
  const before = shown.state;
  shown = state;
  if (state.state !== before) {
    if (state.state === "live") console.info("SSE: Connected to event stream");
    if (state.state === "polling") askState();
    if (before !== "") say(t(words[state.state] ?? "liveTrying"));
    $("live").dataset.state = state.state;
    $("live").title = t(`liveTitle.${state.state}`);
    $("live-icon").setAttribute("href", `#i-${icons[state.state]}`);
    document.body.dataset.live = state.state;
    $("live-retry").hidden = state.state !== "waiting" && state.state !== "offline";
  }
  tick();
}

function tick() {
  const { state, retryAt } = shown;
  if (state === "") return;
  const seconds = retryAt ? Math.ceil((retryAt - Date.now()) / 1000) : 0;
  const text = state === "waiting" ? (seconds > 0 ? t("liveWaiting", { n: seconds }) : t("liveTrying")) : t(words[state]);
  setText($("live-text"), text);
}

/** After an update of the server this page is the old one, until it is loaded again. */
async function checkVersion() {
  const now = await fetch(base, { cache: "no-cache" }).then((response) => response.text()).catch(() => "");
  const program = (document) => document.querySelector("script[type=module]")?.getAttribute("src");
  // Parsed for its one address; nothing of it gets into the page.
  const next = program(new DOMParser().parseFromString(now, "text/html"));
  if (next && next !== program(document)) $("update").hidden = false;
}
$("update").addEventListener("click", () => location.reload());

/** What a stream tells at its beginning; polling tells only what changes. */
async function askState() {
  // Where one fails, the state in the header says that the server is away.
  const [status, list] = await Promise.allSettled([call("api/watcher/status"), call("api/jobs")]);
  if (status.value) deliver({ type: "watcher_status", data: status.value }, true);
  for (const job of list.value?.jobs?.toReversed() ?? []) deliver({ type: "job_updated", data: job }, true);
}

$("live-retry").addEventListener("click", () => share.check());

// A list that could be old is read again once: after sleep, after the back button.
let lastTick = Date.now();
setInterval(() => {
  const slept = Date.now() - lastTick > SLEEP_MS && !document.hidden;
  lastTick = Date.now();
  if (slept) awake();
  tick();
}, 1000);

function awake() {
  share.check();
  sync.stale();
}

let hiddenAt = null;
document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    hiddenAt = Date.now();
    return;
  }
  const long = hiddenAt !== null && Date.now() - hiddenAt > SLEEP_MS;
  hiddenAt = null;
  lastTick = Date.now();
  share.check();
  // A hidden tab is kept up to date by deltas; a frozen one was not, and cannot tell.
  if (long) sync.stale();
});
addEventListener("online", () => share.check());
addEventListener("offline", () => share.check());
addEventListener("pageshow", (event) => event.persisted && awake());

function moved() {
  library.grid.clear();
  sync.now();
}
addEventListener("place", moved);
addEventListener("popstate", moved);
$("crumbs").addEventListener("click", (event) => {
  const anchor = event.target.closest("a");
  if (!anchor || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  history.pushState(null, "", anchor.getAttribute("href"));
  moved();
  $("crumbs").querySelector("[aria-current]")?.focus();
});

$("help").addEventListener("click", help);
function help() {
  const keys = el("dl", { class: "keys" }, ...t("keys").map(([key, does]) => el("div", {}, el("dt", {}, el("kbd", { text: key })), el("dd", { text: does }))));
  askDialog({ title: t("helpTitle"), extra: keys });
}

addEventListener("keydown", (event) => {
  const typing = event.target.closest?.("input, select, textarea") || document.querySelector("dialog[open]");
  if (event.key === "Escape" && event.target === $("search") && $("search").value === "") $("grid").focus();
  if (event.ctrlKey || event.metaKey || event.altKey || typing) return;
  const acts = {
    "/": () => view.open("library") || $("search").focus(), "?": help,
    l: () => view.open("library", true), n: () => view.open("now", true), h: () => view.open("health", true),
    p: () => bulk.run("process"), v: () => bulk.run("verify"), r: () => bulk.run("retry"),
    Escape: () => library.grid.clear(),
  };
  const act = acts[event.key];
  if (!act) return;
  event.preventDefault();
  act();
});

sync.now().then(() => {
  // Not needed for the first view, and so asked for after it.
  health.follow();
  feed.past();
  document.head.append(el("link", { rel: "icon", type: "image/svg+xml", href: meta("icon") }));
});
