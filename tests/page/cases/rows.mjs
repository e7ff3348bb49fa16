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

/** One list, one library, and a source of chance for both. */
function arrange(seed) {
  const pick = random(seed);
  const [next, library] = [{ id: 1 }, new Map()];
  for (let count = pick(60); count > 0; count -= 1) step(pick, library, next);
  const query = {
    sort: ["path", "-path", "name", "-name", "size", "-size", "modified", "-modified"][pick(8)],
    status: ["", "", "failed", "duplicate"][pick(4)], search: ["", "", "Z/"][pick(3)],
    ...[{}, { folder: "comics" }, { directory: "comics" }][pick(3)],
  };
  return { pick, query, library, step: () => step(pick, library, next) };
}

const ids = (list) => [...list].map(({ id }) => id);

test("any deltas applied to a list give what a new snapshot gives", async () => {
  for (let seed = 1; seed <= 300; seed += 1) {
    const { pick, query, library, step } = arrange(seed);
    const rows = new Rows(query);
    const first = answer(library, query, [10, 100_000][pick(2)]);
    rows.append(first);
    rows.figures(first);
    for (let round = 0; round < 20; round += 1) {
      const { unsure } = rows.apply(Array.from({ length: 1 + pick(4) }, step));
      const wanted = answer(library, query, rows.complete ? Infinity : rows.length);
      const told = `seed ${seed}, round ${round}, ${JSON.stringify(query)}`;
      assert.deepEqual(ids(rows.states()), ids(wanted.files), told);
      if (unsure) rows.figures(wanted); // the page asks for the counts then
      else assert.deepEqual([rows.total, { ...rows.counts }], [wanted.total, wanted.counts], told);
    }
  }
});

test("pages that were let go keep their rows through any deltas, and come back right", async () => {
  let restored = 0;
  for (let seed = 1; seed <= 300; seed += 1) {
    const { pick, query, library, step } = arrange(seed);
    const inOrder = order(query.sort);
    // A cursor is the key of the last row of the page before, as it was then.
    const after = (cursor, limit) => {
      const { files, ...rest } = answer(library, query, Infinity);
      const left = files.filter((entry) => cursor === null || inOrder(entry, cursor) > 0);
      return { ...rest, files: left.slice(0, limit), next: left.length > limit ? left[limit - 1] : null };
    };
    const rows = new Rows(query);
    do rows.append(after(rows.next, 5));
    while (!rows.complete && pick(5));
    rows.figures(answer(library, query, 0));
    for (let round = 0; round < 20; round += 1) {
      const from = pick(rows.length + 1);
      rows.keep(from, from + pick(8));
      const { unsure } = rows.apply(Array.from({ length: 1 + pick(3) }, step));
      const told = `seed ${seed}, round ${round}, ${JSON.stringify(query)}`;
      const wanted = answer(library, query, rows.complete ? Infinity : rows.length);
      assert.deepEqual(ids(rows.states()).sort(), ids(wanted.files).sort(), told);
      if (unsure) rows.figures(wanted);
      else assert.deepEqual([rows.total, { ...rows.counts }], [wanted.total, wanted.counts], told);
      for (let page = rows.missing(0, rows.length); page && pick(4); page = rows.missing(0, rows.length)) {
        const answers = [];
        do answers.push(after(answers.length ? answers.at(-1).next : page.cursor, 1 + pick(6)));
        while (!rows.reaches(page, answers.at(-1)));
        rows.restore(page, answers);
        restored += 1;
      }
      if (rows.whole || !rows.missing(0, rows.length)) {
        assert.deepEqual(ids(rows.states()), ids(wanted.files), told);
        for (const [index, { id }] of wanted.files.entries()) {
          assert.deepEqual([rows.at(index), rows.indexOf(id)], [library.get(id), index], told);
        }
      }
    }
  }
  assert.ok(restored > 300, `only ${restored} pages came back`);
});

test("a list that is read on from its middle keeps the place of what is above", async () => {
  const library = new Map(Array.from({ length: 40 }, (_, index) => [index, { ...entry(random(index + 1), index), path: `comics/${index + 100}` }]));
  const query = { sort: "path", status: "", search: "" };
  const all = answer(library, query, Infinity).files;
  const rows = new Rows(query);
  for (let at = 0; at < 40; at += 10) rows.append({ files: all.slice(at, at + 10), next: at < 30 ? `after ${at + 9}` : null });
  const again = rows.resume(25);
  assert.deepEqual([again.next, again.length, again.at(19), again.missing(0, 5).cursor], ["after 19", 20, null, null]);
  again.append({ files: all.slice(20), next: null });
  assert.deepEqual([again.at(25), again.indexOf(all[25].id), ids(again.states())], [all[25], 25, ids(all)]);
});

test("the parent of a path is its directory", async () => {
  assert.deepEqual(["a", "a/b", "a/b/c"].map(parent), ["", "a", "a/b"]);
});
