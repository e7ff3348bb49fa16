// The loaded part of the list: entries in order, their counts, and how a delta changes them.
// Pure: no document, no network. Everything beyond the last loaded row is only a number.

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

export class Rows {
  constructor(query) {
    this.query = query;
    this.compare = order(query.sort);
    this.entries = [];
    this.byId = new Map();
    this.directories = [];
    this.counts = {};
    this.total = 0;
    this.next = null;
    this.version = 0;
  }

  /** Adds a page of the snapshot after what is loaded. */
  append(page) {
    for (const entry of page.files) {
      if (this.byId.has(entry.id)) continue; // it moved down since the page before was read
      this.byId.set(entry.id, entry);
      this.entries.push(entry);
    }
    this.next = page.next;
    this.figures(page);
  }

  /** Takes over the counts of an answer. */
  figures(page) {
    this.counts = page.counts;
    this.total = page.total;
    if (page.directories) this.directories = page.directories;
  }

  get complete() {
    return this.next === null;
  }

  fits(entry) {
    return inPlace(this.query, entry) && hasStatus(this.query.status, entry);
  }

  /** Adds `step` to the counts that an entry is part of. */
  tally(entry, step) {
    if (!inPlace(this.query, entry)) return;
    for (const name of ["all", entry.status, entry.duplicate_of === null ? null : "duplicate"]) {
      if (name) this.counts[name] = Math.max(0, (this.counts[name] ?? 0) + step);
    }
    if (hasStatus(this.query.status, entry)) this.total = Math.max(0, this.total + step);
  }

  /**
   * Applies deltas: one pass over the rows for everything that stays or goes, then an insertion
   * for each row that comes. Returns `{touched, unsure}`: the ids of rows to show as fresh, and
   * whether the counts cannot be known from the deltas alone.
   */
  apply(deltas) {
    const latest = new Map(); // id → {entry or null, added}
    for (const delta of deltas) {
      for (const entry of delta.added) latest.set(entry.id, { entry, added: true });
      for (const entry of delta.changed) latest.set(entry.id, { entry, added: latest.get(entry.id)?.added ?? false });
      for (const id of delta.removed) latest.set(id, { entry: null, added: latest.get(id)?.added ?? false });
    }
    const [touched, coming, leaving] = [new Set(), [], new Set()];
    const replaced = new Map();
    let unsure = false;
    for (const [id, { entry, added }] of latest) {
      const before = this.byId.get(id);
      if (before) this.tally(before, -1);
      else if (!added) unsure = true; // it may have been counted, beyond the loaded rows
      if (entry && (before || added)) this.tally(entry, 1);
      const stays = entry !== null && this.fits(entry);
      if (before && stays && this.compare({ ...before, id: 0 }, { ...entry, id: 0 }) === 0) replaced.set(id, entry);
      else {
        if (before) leaving.add(id);
        if (stays) coming.push(entry);
      }
      if (stays) touched.add(id);
      if (this.query.directory) unsure ||= this.isBelow(entry ?? before);
    }
    if (leaving.size || replaced.size) {
      this.entries = this.entries.filter((entry) => !leaving.has(entry.id)).map((entry) => replaced.get(entry.id) ?? entry);
      for (const id of leaving) this.byId.delete(id);
      for (const [id, entry] of replaced) this.byId.set(id, entry);
    }
    for (const entry of coming) this.insert(entry);
    return { touched, unsure };
  }

  /** Whether an entry is in a directory below the one that is shown, whose count it changes. */
  isBelow(entry) {
    return !entry || entry.path.startsWith(`${this.query.directory}/`) && parent(entry.path) !== this.query.directory;
  }

  /** Inserts where it belongs, unless that is beyond the last loaded row of a longer list. */
  insert(entry) {
    let [low, high] = [0, this.entries.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.compare(this.entries[middle], entry) < 0) low = middle + 1;
      else high = middle;
    }
    if (low === this.entries.length && !this.complete) return;
    this.entries.splice(low, 0, entry);
    this.byId.set(entry.id, entry);
  }
}
