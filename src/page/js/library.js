// The library on the page: the place, the search, the filters, the list, and what deltas do to it.

import { call, query } from "./api.js";
import { $, el, icon, setText } from "./dom.js";
import * as format from "./format.js";
import { Grid } from "./grid.js";
import { here, go, link, sorts, toQuery } from "./place.js";
import { parent, Rows } from "./rows.js";
import { t } from "./strings.js";
import { firstStart } from "./start.js";

const statuses = ["all", "unprocessed", "processing", "processed", "failed", "duplicate"];
/** Fills a wall display; the next page follows when it has been drawn. */
const FIRST_PAGE = 60; // index.html asks for it beforehand
const PAGE = 500;
const LARGEST_PAGE = 1000;
/** Counts that a delta leaves open are asked for at most this often. */
const COUNTS_MS = 1000;

export class Library {
  /** `on` has `open(entry)` and `selection()`. */
  constructor(on) {
    this.on = on;
    this.rows = new Rows(toQuery(here()));
    this.queue = [];
    this.folders = null; // of watcher_status; null until it is known
    this.grid = new Grid({
      open: (item) => (item.id === undefined ? this.enter(item.path) : on.open(item)),
      near: () => this.more(),
      selection: () => on.selection(),
      up: () => here().in && this.enter(parent(here().in)),
      moved: () => this.range(),
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

  /** Shows the place in the tools. */
  placed() {
    const place = here();
    const parts = place.in === "" ? [] : place.in.split("/");
    const crumb = (text, path, last) => el("li", {},
      el("a", { href: link({ in: path, q: "", status: "all" }), "aria-current": last ? "page" : null, dir: "auto", text }));
    $("crumbs").replaceChildren(el("ol", {}, crumb(t("everything"), "", parts.length === 0),
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
    const rows = new Rows(toQuery(place));
    const keep = JSON.stringify(rows.query) === JSON.stringify(this.rows.query) && this.loaded;
    this.aborting?.abort();
    const { signal } = (this.aborting = new AbortController());
    this.placed();
    // As far down as the owner has looked, and one page.
    const wanted = keep ? Math.min(this.rows.entries.length, this.grid.first() + this.grid.page() + FIRST_PAGE) : 1;
    let id = null;
    let version = 0;
    try {
      do {
        const limit = keep ? Math.min(LARGEST_PAGE, Math.max(FIRST_PAGE, wanted - rows.entries.length)) : FIRST_PAGE;
        const page = await call(`api/files?${query({ ...rows.query, limit, cursor: rows.next })}`, { signal });
        id ??= page.last_event_id;
        version ||= page.version;
        if (keep) page.files = page.files.map((entry) => this.same(entry));
        rows.append(page);
      } while (rows.entries.length < wanted && !rows.complete);
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

  /** Loads the next page, when the end of the loaded rows comes near. */
  async more() {
    const rows = this.rows;
    if (!this.loaded || rows.complete || this.loading) return;
    this.loading = true;
    try {
      rows.append(await call(`api/files?${query({ ...rows.query, limit: PAGE, cursor: rows.next })}`));
      if (rows === this.rows) this.show();
    } catch {
      // The next scroll asks again.
    } finally {
      this.loading = false;
      this.grid.later(); // another list may have come meanwhile, and want more
    }
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
        const page = await call(`api/files?${query({ ...rows.query, limit: 1 })}`);
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
      note: state === "offline" ? t("folderState.offline") : t("directories", { n: directories }),
    }));
    if (this.loaded) this.show();
  }

  /** The rows for directories of this place; the same objects as long as nothing changes. */
  directories() {
    const { search, status, directory } = this.rows.query;
    if (search || status) return [];
    const source = directory ? this.rows.directories : this.folders && this.folders.length > 1 ? this.folders : [];
    if (source !== this.source) {
      this.source = source;
      this.shownDirectories = source.map(({ path, note, files }, number) => ({ path, number, note: note ?? t("files", { n: files }) }));
    }
    return this.shownDirectories;
  }

  show({ jump = false, fresh = null } = {}) {
    const { rows } = this;
    const directories = this.directories();
    const items = directories.length ? [...directories, ...rows.entries] : rows.entries.slice();
    for (const id of this.grid.selected) if (!rows.byId.has(id) && rows.complete) this.grid.selected.delete(id);
    const empty = items.length === 0;
    this.emptiness(empty);
    $("grid").hidden = $("columns").hidden = empty;
    this.grid.show(items, rows.total + directories.length, { jump, fresh });
    for (const chip of $("filters").children) setText(chip.lastChild, format.count(rows.counts[chip.dataset.status] ?? 0));
    this.range();
    this.on.selection();
  }

  range() {
    const shown = format.count(this.rows.entries.length);
    setText($("range"), this.loaded ? t("range", { n: this.rows.total, shown, total: format.count(this.rows.total) }) : "");
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
    if (!this.loaded || this.rows.entries.length === 0) {
      $("grid").hidden = $("columns").hidden = true;
      this.emptyKind = null;
      this.emptiness(true);
    }
  }
}
