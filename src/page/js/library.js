// The library on the page: the place, the search, the filters, the list, and what deltas do to it.

import { call, query } from "./api.js";
import { $, el, icon, setText } from "./dom.js";
import * as format from "./format.js";
import { Grid } from "./grid.js";
import { here, go, link, sorts, toQuery } from "./place.js";
import { parent, Rows } from "./rows.js";
import { recall, remember } from "./store.js";
import { t } from "./strings.js";
import { firstStart } from "./start.js";

const statuses = ["all", "unprocessed", "processing", "processed", "failed", "duplicate"];
/** Fills a wall display; the next page follows when it has been drawn. */
const FIRST_PAGE = 60; // index.html asks for it beforehand
const PAGE = 500;
const LARGEST_PAGE = 1000;
/** Rows that stay loaded on each side of what is looked at; what is further away is let go. */
const KEPT = 3000;
/** How near the end of what was read may come before the next page is asked for. */
const AHEAD = 30;
/** Counts that a delta leaves open are asked for at most this often. */
const COUNTS_MS = 1000;

/** The folders that this browser saw last: they are on the screen before the stream names them. */
function remembered() {
  try {
    return JSON.parse(recall("folders")) ?? [];
  } catch {
    return [];
  }
}

/** What the grid shows: the directories of a place, then its entries. */
class Listing {
  constructor(directories, rows) {
    this.directories = directories;
    this.rows = rows;
  }

  get length() {
    return this.directories.length + this.rows.length;
  }

  at(index) {
    return this.directories[index] ?? this.rows.at(index - this.directories.length);
  }

  /** Index of the item with this key, -1 where it is not loaded. */
  indexOf(key) {
    if (typeof key === "string") return this.directories.findIndex(({ path }) => path === key);
    const index = this.rows.indexOf(key);
    return index < 0 ? -1 : index + this.directories.length;
  }

  /** Ids of the entries between two indexes, loaded or not. */
  *ids(from, to) {
    const before = this.directories.length;
    for (const { id } of this.rows.states(from - before, to - before)) yield id;
  }
}

export class Library {
  /** `on` has `open(entry)`, `selection()` and `act(place)`. */
  constructor(on) {
    this.on = on;
    this.rows = new Rows(toQuery(here()));
    this.queue = [];
    this.folders = null; // of watcher_status; null until it is known
    this.remembered = remembered();
    this.shownDirectories = [];
    this.grid = new Grid({
      open: (item) => (item.id === undefined ? this.enter(item.path) : on.open(item)),
      near: (from, to) => this.near(from, to),
      selection: () => on.selection(),
      act: ({ path }) => on.act(path),
      up: () => here().in && this.enter(parent(here().in)),
    });
    this.tools();
  }

  tools() {
    $("sort").replaceChildren(...sorts.map((name) => el("option", { value: name, text: t(`sorts.${name}`) })));
    $("sort").addEventListener("change", () => go({ sort: $("sort").value }));
    $("filters").replaceChildren(...statuses.map((status) =>
      el("button", { type: "button", class: `chip s-${status}`, "data-status": status, "aria-pressed": "false", click: () => go({ status }) },
        status === "all" ? null : icon(status), el("span", { text: t(`status.${status}`) }), el("span", { class: "count" }))));
    let typing = 0;
    $("search").addEventListener("input", () => {
      clearTimeout(typing);
      typing = setTimeout(() => go({ q: $("search").value.trim() }, { replace: true }), 120);
    });
    const headings = [["c-check", ""], ["c-name", t("columnName")], ["c-state", t("columnState")], ["c-size", t("columnSize")], ["c-when", t("columnModified")]];
    $("columns").replaceChildren(...headings.map(([name, text]) => el("span", { class: name, text })));
    this.placed();
  }

  enter(path) {
    go({ in: path, q: "", status: "all" });
    $("grid").focus({ preventScroll: true });
  }

  /** Shows the place in the tools; again only when it is another, for what has the focus or is being typed. */
  placed() {
    const place = here();
    if (JSON.stringify(place) === this.place) return;
    this.place = JSON.stringify(place);
    const parts = place.in === "" ? [] : place.in.split("/");
    const crumb = (text, path, last) => el("li", {},
      el("a", { href: link({ in: path, q: "", status: "all" }), "aria-current": last ? "page" : null, dir: "auto", text: format.name(text) }));
    $("crumbs").replaceChildren(el("ol", {}, crumb(t(parts.length ? "everythingShort" : "everything"), "", parts.length === 0),
      ...parts.map((part, index) => crumb(part, parts.slice(0, index + 1).join("/"), index === parts.length - 1))));
    if ($("search").value.trim() !== place.q) $("search").value = place.q;
    const hint = parts.length ? t("searchIn", { place: parts[0] }) : t("search");
    $("search").placeholder = hint;
    $("search").setAttribute("aria-label", hint);
    $("sort").value = place.sort;
    for (const chip of $("filters").children) chip.setAttribute("aria-pressed", String(chip.dataset.status === place.status));
  }

  /** Reads the snapshot of the place; resolves to its id. `keep` shows the same rows again. */
  async read() {
    const place = here();
    const asked = toQuery(place);
    const keep = this.loaded && JSON.stringify(asked) === JSON.stringify(this.rows.query);
    this.aborting?.abort();
    const { signal } = (this.aborting = new AbortController());
    this.placed();
    // What the owner looks at, and one page; what is above comes when it is looked at.
    const first = Math.max(0, this.grid.first - this.shownDirectories.length);
    const rows = keep ? this.rows.resume(first) : new Rows(asked);
    const wanted = keep ? Math.min(this.rows.length, first + this.grid.page() + FIRST_PAGE) : 1;
    let id = null;
    let version = 0;
    try {
      do {
        const limit = Math.min(LARGEST_PAGE, Math.max(FIRST_PAGE, wanted - rows.length));
        const page = await call(`api/files?${query({ ...rows.query, limit, cursor: rows.next })}`, { signal });
        id ??= page.last_event_id;
        version ||= page.version;
        if (keep) page.files = page.files.map((entry) => this.same(entry));
        rows.append(page);
        rows.figures(page);
      } while (rows.length < wanted && !rows.complete);
    } catch (error) {
      if (error.name !== "AbortError") this.failed(error);
      throw error;
    }
    rows.version = version; // deltas between the pages are applied again, which does no harm
    if (keep) rows.directories = this.sameDirectories(rows.directories);
    this.rows = rows;
    this.loaded = true;
    this.error = null;
    this.queue = this.queue.filter((delta) => delta.version > version);
    this.grid.place = rows.query.directory ?? "";
    this.show({ jump: !keep });
    return id;
  }

  /** The object that is shown already, where nothing differs: then its row is left alone. */
  same(entry) {
    const old = this.rows.byId.get(entry.id);
    return old && Object.keys(entry).every((key) => old[key] === entry[key]) ? old : entry;
  }

  sameDirectories(found) {
    return JSON.stringify(found) === JSON.stringify(this.rows.directories) ? this.rows.directories : found;
  }

  /** Has these rows of the grid loaded, and lets go of what is far away from them. */
  near(from, to) {
    this.range();
    const before = this.shownDirectories.length;
    [from, to] = [from - before, to - before];
    this.rows.keep(from - KEPT, to + KEPT);
    const missing = this.rows.missing(from, to);
    if (missing) this.load((rows) => this.again(rows, missing));
    else if (!this.rows.complete && to >= this.rows.length - AHEAD) this.load((rows) => this.more(rows));
  }

  /** Loads rows, one load at a time. */
  async load(act) {
    if (!this.loaded || this.loading) return;
    this.loading = true;
    const done = await act(this.rows).then(() => true, () => false);
    this.loading = false;
    // Another list may have come meanwhile, and want more. After a failure the next scroll asks again.
    if (done) this.grid.later();
  }

  ask(rows, limit, cursor) {
    return call(`api/files?${query({ ...rows.query, limit, cursor })}`);
  }

  /** Whether an answer belongs to what is shown. One from before the last delta would lack what that brought: the
   *  next draw asks again. One from after it holds deltas that are still to come, which do no harm a second time. */
  fits(rows, { version }) {
    return rows === this.rows && version >= rows.version;
  }

  async more(rows) {
    const answer = await this.ask(rows, PAGE, rows.next);
    if (!this.fits(rows, answer)) return;
    rows.append(answer);
    this.show();
  }

  /** Loads a page that was let go. It may have grown since. */
  async again(rows, page) {
    const answers = [];
    let cursor = page.cursor;
    do {
      const answer = await this.ask(rows, Math.min(LARGEST_PAGE, page.rows.length + 1), cursor);
      if (!this.fits(rows, answer)) return;
      answers.push(answer);
      cursor = answer.next;
    } while (!rows.reaches(page, answers.at(-1)));
    rows.restore(page, answers);
    this.show();
  }

  /** Takes a delta; what comes within one frame is applied and drawn at once. */
  delta(data) {
    this.queue.push(data);
    if (this.flushing) return;
    this.flushing = true;
    const flush = () => {
      this.flushing = false;
      this.flush();
    };
    // Hidden tabs get no frames, and must not pile up what arrives.
    if (document.hidden) setTimeout(flush, 250);
    else requestAnimationFrame(flush);
  }

  flush() {
    const deltas = this.queue.filter((delta) => delta.version > this.rows.version);
    this.queue = [];
    if (!this.loaded || deltas.length === 0) return;
    const { touched, unsure } = this.rows.apply(deltas);
    for (const { removed } of deltas) for (const id of removed) this.grid.selected.delete(id);
    const { version, total } = deltas.at(-1);
    this.rows.version = version;
    const { search, status, directory, folder } = this.rows.query;
    if (!search && !status && !directory && !folder) this.rows.total = this.rows.counts.all = total;
    this.show({ fresh: touched });
    if (unsure) this.recount();
  }

  /** Asks for the counts of this place, at most once a second. */
  recount() {
    this.counting ??= setTimeout(async () => {
      const rows = this.rows;
      try {
        const page = await this.ask(rows, 1);
        if (rows === this.rows && page.version >= rows.version) {
          page.directories &&= this.sameDirectories(page.directories);
          rows.figures(page);
          this.show();
        }
      } catch {
        // The next delta asks again.
      } finally {
        this.counting = null;
      }
    }, COUNTS_MS);
  }

  /** The folders of watcher_status, which are what there is to walk into at the top. */
  setFolders(folders) {
    const known = JSON.stringify(folders.map(({ name, directories, state }) => [name, directories, state]));
    if (known === this.knownFolders) return;
    this.knownFolders = known;
    this.folders = folders.map(({ name, directories, state }) => ({
      path: name,
      offline: state === "offline",
      note: state === "offline" ? t("folderState.offline") : t("directories", { n: directories }),
    }));
    remember("folders", JSON.stringify(this.folders));
    if (this.loaded) this.show();
  }

  /** The rows for directories of this place; the same objects as long as nothing changes. */
  directories() {
    const { search, status, directory } = this.rows.query;
    if (search || status) return [];
    const folders = this.folders ?? this.remembered;
    const source = directory ? this.rows.directories : folders.length > 1 ? folders : [];
    if (source !== this.source) {
      this.source = source;
      this.shownDirectories = source.map(({ path, offline, note, files }, number) => ({ path, number, offline, note: note ?? t("files", { n: files }) }));
    }
    return this.shownDirectories;
  }

  show({ jump = false, fresh = null } = {}) {
    const { rows } = this;
    const directories = this.directories();
    if (rows.whole) for (const id of this.grid.selected) if (!rows.byId.has(id)) this.grid.selected.delete(id);
    const listing = new Listing(directories, rows);
    const empty = listing.length === 0;
    this.emptiness(empty);
    $("grid").hidden = $("columns").hidden = empty;
    this.grid.show(listing, rows.total + directories.length, { jump, fresh });
    for (const chip of $("filters").children) {
      const number = rows.counts[chip.dataset.status] ?? 0;
      setText(chip.lastChild, format.count(number));
      chip.classList.toggle("none", number === 0);
    }
    this.range();
    this.on.selection();
  }

  /** Says how many there are and, where not all are on the screen, which of them are. */
  range() {
    if (!this.loaded) return;
    const { total } = this.rows;
    const before = this.shownDirectories.length;
    const [first, last] = [Math.max(0, this.grid.first - before), Math.min(total, this.grid.end - before)];
    const all = (first === 0 && last === total) || last <= 0;
    const files = t(all ? "files" : "range", { n: total, from: format.count(first + 1), to: format.count(last) });
    setText($("range"), this.rows.query.directory && before > 0 ? `${t("directories", { n: before })}, ${files}` : files);
  }

  /** Says why there is nothing to see, and what to do. */
  emptiness(empty) {
    const box = $("empty");
    box.hidden = !empty;
    if (!empty) return (this.emptyKind = null);
    const { search, status } = this.rows.query;
    const kind = this.error ? this.error : search || status ? "match" : this.folders?.length === 0 ? "first" : "files";
    if (kind === this.emptyKind) return;
    this.emptyKind = kind;
    if (kind === "first") box.replaceChildren(firstStart());
    else if (kind === "match") {
      box.replaceChildren(el("h3", { text: t("noMatch") }), el("p", { text: t("noMatchText") }),
        el("button", { type: "button", text: t("showAll"), click: () => go({ q: "", status: "all" }) }));
    } else if (kind === "files") box.replaceChildren(el("h3", { text: t("noFiles") }), el("p", { text: t("noFilesText") }));
    else box.replaceChildren(el("h3", { text: t("loadFailed") }), el("p", { text: kind }),
      el("button", { type: "button", text: t("showAll"), click: () => go({ in: "", q: "", status: "all" }) }));
  }

  /** The list could not be read; what was shown stays. */
  failed(error) {
    this.error = error.message;
    if (!this.loaded || this.rows.length === 0) {
      $("grid").hidden = $("columns").hidden = true;
      this.emptyKind = null;
      this.emptiness(true);
    }
  }
}
