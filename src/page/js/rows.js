// The list as far as it was read: entries in order, their counts, and how a delta changes them.
// Pure: no document, no network. Everything beyond the last page is only a number.

/** Orders texts by their bytes in UTF-8, as the server does: by code points, and not by the code
 *  units that `<` compares, which differ beyond the basic plane. */
function collate(one, other) {
  if (typeof one === "string") {
    let at = 0;
    while (at < one.length && one.charCodeAt(at) === other.charCodeAt(at)) at += 1;
    const [left, right] = [one.charCodeAt(at), other.charCodeAt(at)];
    const high = (unit) => unit >= 0xd800 && unit <= 0xdfff;
    if (high(left) !== high(right) && left >= 0xd800 && right >= 0xd800) return high(left) ? 1 : -1;
  }
  return one < other ? -1 : one > other ? 1 : 0;
}

const keys = {
  path: (entry) => entry.path,
  name: (entry) => entry.name,
  size: (entry) => entry.size,
  modified: (entry) => entry.modified,
};

/** Orders entries as the server does: by the key, then by id. */
export function order(sort) {
  const down = sort.startsWith("-");
  const key = keys[down ? sort.slice(1) : sort];
  return (one, other) => {
    const found = collate(key(one), key(other)) || one.id - other.id;
    return down ? -found : found;
  };
}

/** The directory of a path, "" for none. */
export const parent = (path) => path.slice(0, Math.max(0, path.lastIndexOf("/")));

/** Whether an entry is in the place and fits the search, whatever its status. */
export function inPlace(query, entry) {
  if (query.directory && parent(entry.path) !== query.directory) return false;
  if (query.folder && entry.folder !== query.folder) return false;
  return !query.search || entry.path.toLowerCase().includes(query.search.toLowerCase());
}

/** Whether an entry has the status that a filter names. */
export function hasStatus(status, entry) {
  if (!status || status === "all") return true;
  return status === "duplicate" ? entry.duplicate_of !== null : entry.status === status;
}

const statuses = ["unprocessed", "processing", "processed", "failed"];

/** A row of a page that was let go, in one number: its id, and what the counts need of it. */
const brief = ({ id, status, duplicate_of: twin }) => id * 8 + statuses.indexOf(status) * 2 + (twin === null ? 0 : 1);
const isBrief = (row) => typeof row === "number";
const idOf = (row) => (isBrief(row) ? Math.floor(row / 8) : row.id);
const stateOf = (row) => (isBrief(row) ? { id: idOf(row), status: statuses[(row % 8) >> 1], duplicate_of: row % 2 || null } : row);

/**
 * The rows lie in the pages that they were loaded in. A page that is far from what is looked at is
 * let go: of its rows one number each remains, so that a million of them weigh 8 MB, and its cursor
 * loads it again. A page holds the rows after the key `after`, where its cursor points, up to the
 * `after` of the next; so every entry belongs to one page, whether that is loaded or not.
 */
export class Rows {
  constructor(query) {
    this.query = query;
    this.compare = order(query.sort);
    this.pages = []; // {cursor, after, rows, loaded}
    this.length = 0;
    this.byId = new Map(); // of the loaded ones
    this.directories = [];
    this.counts = {};
    this.total = 0;
    this.next = null; // cursor of what is beyond the last page
    this.end = null; // and the key that it points to
    this.version = 0;
  }

  get complete() {
    return this.next === null;
  }

  /** Whether every entry of the place is at hand. */
  get whole() {
    return this.complete && this.pages.every(({ loaded }) => loaded);
  }

  /** The entry at an index; null where its page was let go, undefined beyond the end. */
  at(index) {
    for (const { rows, loaded } of this.pages) {
      if (index < rows.length) return loaded ? rows[index] : null;
      index -= rows.length;
    }
    return undefined;
  }

  /** Index of a loaded entry, -1 for any other. */
  indexOf(id) {
    const entry = this.byId.get(id);
    let before = 0;
    for (const { rows } of entry ? this.pages : []) {
      const at = rows.indexOf(entry);
      if (at >= 0) return before + at;
      before += rows.length;
    }
    return -1;
  }

  /** `{id, status, duplicate_of}` of the rows from one index to another, loaded or not. */
  *states(from = 0, to = Infinity) {
    let index = 0;
    for (const { rows } of this.pages) {
      for (let at = Math.max(0, from - index); at < Math.min(rows.length, to - index); at += 1) yield stateOf(rows[at]);
      index += rows.length;
    }
  }

  /** Adds a page of the snapshot after what is there. */
  append({ files, next }) {
    this.pages.push(this.page(this.next, this.end, files));
    this.end = files.at(-1) ?? this.end;
    this.next = next;
    this.measure();
  }

  page(cursor, after, files) {
    const rows = files.filter(({ id }) => !this.byId.has(id)); // it may have moved while pages were read
    for (const entry of rows) this.byId.set(entry.id, entry);
    return { cursor, after, rows, loaded: true };
  }

  measure() {
    this.length = this.pages.reduce((sum, { rows }) => sum + rows.length, 0);
  }

  /** Takes over the counts of an answer. */
  figures({ counts, total, directories }) {
    this.counts = counts;
    this.total = total;
    if (directories) this.directories = directories;
  }

  /** Lets go of the pages that lie wholly outside of these indexes. */
  keep(from, to) {
    let start = 0;
    for (const page of this.pages) {
      const end = start + page.rows.length;
      if (page.loaded && (end < from || start > to)) {
        for (const { id } of page.rows) this.byId.delete(id);
        page.rows = page.rows.map(brief);
        page.loaded = false;
      }
      start = end;
    }
  }

  /** The first page with rows between these indexes that was let go. */
  missing(from, to) {
    let start = 0;
    return this.pages.find(({ rows, loaded }) => {
      const end = start + rows.length;
      const within = start < to && end > from;
      start = end;
      return within && !loaded;
    });
  }

  /** Whether an answer reaches the end of a page. */
  reaches(page, { files, next }) {
    const until = this.until(page);
    return next === null || (until !== null && this.compare(files.at(-1), until) >= 0);
  }

  until(page) {
    const after = this.pages[this.pages.indexOf(page) + 1];
    return after ? after.after : this.complete ? null : this.end;
  }

  /** Puts back a page that was let go, from answers that together reach its end. */
  restore(page, answers) {
    const at = this.pages.indexOf(page);
    if (at < 0) return;
    const until = this.until(page);
    let { cursor, after } = page;
    const pages = answers.map(({ files, next }) => {
      const made = this.page(cursor, after, files.filter((entry) => until === null || this.compare(entry, until) <= 0));
      [cursor, after] = [next, files.at(-1) ?? after];
      return made;
    });
    this.pages.splice(at, 1, ...pages);
    this.measure();
  }

  /** A list of the same query whose pages before `index` are let go, to be read on from there. */
  resume(index) {
    const rows = new Rows(this.query);
    let start = 0;
    for (const page of this.pages) {
      [rows.next, rows.end] = [page.cursor, page.after];
      start += page.rows.length;
      if (start > index || page === this.pages.at(-1)) break;
      rows.pages.push({ ...page, rows: page.rows.map((row) => (isBrief(row) ? row : brief(row))), loaded: false });
    }
    rows.measure();
    return rows;
  }

  fits(entry) {
    return inPlace(this.query, entry) && hasStatus(this.query.status, entry);
  }

  /** Adds `step` to the counts that an entry of this place is part of. */
  tally(entry, step) {
    for (const name of ["all", entry.status, entry.duplicate_of === null ? null : "duplicate"]) {
      if (name) this.counts[name] = Math.max(0, (this.counts[name] ?? 0) + step);
    }
    if (hasStatus(this.query.status, entry)) this.total = Math.max(0, this.total + step);
  }

  /**
   * Applies deltas: takes out every row that they name, and puts in again what belongs here.
   * Returns `{touched, unsure}`: the ids of rows to show as fresh, and whether the counts cannot
   * be known from the deltas alone.
   */
  apply(deltas) {
    const latest = new Map(); // id → {entry or null, added}
    for (const { added, changed, removed } of deltas) {
      for (const entry of added) latest.set(entry.id, { entry, added: true });
      for (const entry of changed) latest.set(entry.id, { entry, added: latest.get(entry.id)?.added ?? false });
      for (const id of removed) latest.set(id, { entry: null, added: latest.get(id)?.added ?? false });
    }
    const before = this.take(latest);
    const touched = new Set();
    let unsure = false;
    for (const [id, { entry, added }] of latest) {
      const was = before.get(id);
      if (was) this.tally(was, -1);
      else if (!added) unsure = true; // it may have been counted, beyond the last page
      if (entry && (was || added) && inPlace(this.query, entry)) this.tally(entry, 1);
      if (entry && this.fits(entry)) {
        this.insert(entry);
        touched.add(id);
      }
      if (this.query.directory) unsure ||= entry ? this.isBelow(entry) : !was;
    }
    this.measure();
    return { touched, unsure };
  }

  /** Takes out the rows whose ids `latest` has; returns what they were. */
  take(latest) {
    const found = new Map();
    const named = (row) => latest.has(idOf(row));
    for (const page of this.pages) {
      if (!page.rows.some(named)) continue;
      for (const row of page.rows.filter(named)) {
        found.set(idOf(row), stateOf(row));
        this.byId.delete(idOf(row));
      }
      page.rows = page.rows.filter((row) => !named(row));
    }
    return found;
  }

  /** Whether an entry is in a directory below the one that is shown, whose count it changes. */
  isBelow({ path }) {
    return path.startsWith(`${this.query.directory}/`) && parent(path) !== this.query.directory;
  }

  /** Inserts where it belongs, unless that is beyond the last page of a longer list. */
  insert(entry) {
    if (!this.complete && this.compare(entry, this.end) > 0) return;
    const page = this.pages.findLast(({ after }) => after === null || this.compare(entry, after) > 0);
    if (!page) return;
    if (!page.loaded) {
      page.rows.push(brief(entry)); // its place within the page shows when that is loaded
      return;
    }
    let [low, high] = [0, page.rows.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.compare(page.rows[middle], entry) < 0) low = middle + 1;
      else high = middle;
    }
    page.rows.splice(low, 0, entry);
    this.byId.set(entry.id, entry);
  }
}
