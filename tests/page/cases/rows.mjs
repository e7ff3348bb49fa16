// The list as a pure thing: whatever deltas come, it equals what a new snapshot would show.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "../lib/harness.mjs";

// The sources are modules for browsers; Node takes them for something else by their name.
const source = await readFile(new URL("../../../src/page/js/rows.js", import.meta.url), "utf8");
const { Rows, hasStatus, inPlace, order, parent } = await import(`data:text/javascript,${encodeURIComponent(source)}`);

/** A generator of numbers that a seed repeats (mulberry32). */
function random(seed) {
  return (below) => {
    seed = (seed + 0x6d2b79f5) | 0;
    let value = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    value = (value + Math.imul(value ^ (value >>> 7), 61 | value)) ^ value;
    return ((value ^ (value >>> 14)) >>> 0) % below;
  };
}

const statuses = ["unprocessed", "processing", "processed", "failed"];
const names = ["a.cbz", "B.cbz", "\u{1f600}.cbz", "\uffee.cbz", "é.cbz", "z/1.cbz", "z/2.cbz", "z/y/3.cbz"];

function entry(pick, id) {
  const folder = ["comics", "photos"][pick(2)];
  const path = `${folder}/${pick(50)}${names[pick(names.length)]}`;
  return {
    id, path, folder, name: path.slice(path.lastIndexOf("/") + 1), size: pick(20), modified: pick(20),
    status: statuses[pick(4)], duplicate_of: pick(5) === 0 ? 1 : null,
  };
}

/** What the server would answer. */
function answer(library, query, limit) {
  const base = [...library.values()].filter((one) => inPlace(query, one));
  const found = base.filter((one) => hasStatus(query.status, one)).sort(order(query.sort));
  const counts = { all: base.length, duplicate: base.filter((one) => one.duplicate_of !== null).length };
  for (const status of statuses) counts[status] = base.filter((one) => one.status === status).length;
  return { files: found.slice(0, limit), next: found.length > limit ? "more" : null, total: found.length, counts };
}

function step(pick, library, next) {
  const delta = { added: [], changed: [], removed: [] };
  for (let times = 1 + pick(5); times > 0; times -= 1) {
    const ids = [...library.keys()];
    const what = pick(3);
    if (what === 0 || ids.length === 0) {
      const made = entry(pick, next.id++);
      library.set(made.id, made);
      delta.added.push(made);
    } else {
      const id = ids[pick(ids.length)];
      // One delta names an entry in one list only.
      if (delta.added.some((one) => one.id === id) || delta.changed.some((one) => one.id === id)) continue;
      if (what === 1) {
        const made = { ...entry(pick, id), ...(pick(2) ? { path: library.get(id).path, name: library.get(id).name, folder: library.get(id).folder } : {}) };
        library.set(id, made);
        delta.changed.push(made);
      } else {
        library.delete(id);
        delta.removed.push(id);
      }
    }
  }
  return delta;
}

test("any deltas applied to a list give what a new snapshot gives", async () => {
  for (let seed = 1; seed <= 300; seed += 1) {
    const pick = random(seed);
    const next = { id: 1 };
    const library = new Map();
    for (let count = pick(60); count > 0; count -= 1) step(pick, library, next);
    const query = {
      sort: ["path", "-path", "name", "-name", "size", "-size", "modified", "-modified"][pick(8)],
      status: ["", "", "failed", "duplicate"][pick(4)], search: ["", "", "Z/"][pick(3)],
      ...[{}, { folder: "comics" }, { directory: "comics" }][pick(3)],
    };
    const limit = [10, 100_000][pick(2)];
    const rows = new Rows(query);
    rows.append(answer(library, query, limit));
    for (let round = 0; round < 20; round += 1) {
      const deltas = Array.from({ length: 1 + pick(4) }, () => step(pick, library, next));
      const { unsure } = rows.apply(deltas);
      const wanted = answer(library, query, rows.complete ? Infinity : rows.entries.length);
      const told = `seed ${seed}, round ${round}, ${JSON.stringify(query)}`;
      if (!rows.complete && rows.entries.length === 0) break;
      assert.deepEqual(rows.entries.map(({ id }) => id), wanted.files.map(({ id }) => id), told);
      if (unsure) rows.figures(wanted); // the page asks for the counts then
      else assert.deepEqual([rows.total, { ...rows.counts }], [wanted.total, wanted.counts], told);
    }
  }
});

test("the parent of a path is its directory", async () => {
  assert.deepEqual(["a", "a/b", "a/b/c"].map(parent), ["", "a", "a/b"]);
});
