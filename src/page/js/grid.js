// The list on the screen: only what is visible is in the document. Rows are kept by key, so that a
// change redraws the row it names and no other. The focus stays on the grid and
// `aria-activedescendant` names the active row, which so survives its row's coming and going.
//
// Layout is read in the ResizeObserver alone, where the browser has just done it: to ask earlier
// would make it do so for nothing.

import { $ } from "./dom.js";
import { ageRow, drawRow, isEntry, keyOf } from "./row.js";

/** Rows kept beyond each edge, for smooth scrolling. */
const SPARE = 6;
/** Browsers stop laying out somewhere between 17 and 33 million pixels; beyond this the scroll
 *  position is a scaled one. */
const TALLEST = 8_000_000;

export class Grid {
  /** `on` has `open(item)`, `near(from, to)` (these rows are wanted), `selection()`, `act(directory)`, `up()`. */
  constructor(on) {
    this.on = on;
    this.box = $("grid");
    this.body = $("rows");
    this.list = null; // has `length`, `at(index)`, `indexOf(key)` and `ids(from, to)`
    this.place = ""; // the directory that is shown
    this.view = 0; // height of what is visible
    this.height = 44; // of a row
    this.scale = 1;
    this.shown = new Map();
    this.seen = []; // what is on the screen: [key, index]
    [this.first, this.end] = [0, 0]; // the indexes of that
    this.active = null; // a key
    this.activeAt = -1; // where it was last
    this.anchor = null;
    this.anchorAt = -1;
    this.selected = new Set();
    this.fresh = new Set();
    this.box.addEventListener("scroll", () => this.later(), { passive: true });
    this.box.addEventListener("click", (event) => this.clicked(event));
    this.box.addEventListener("keydown", (event) => this.pressed(event));
    // Not for a click: that would scroll the row away from under the pointer.
    this.box.addEventListener("focus", () => this.box.matches(":focus-visible") && (this.active ?? this.activate(this.first)));
    this.body.addEventListener("animationend", ({ target }) => target.classList.remove("fresh"));
    new ResizeObserver(([{ contentRect }]) => this.measure(contentRect.height)).observe(this.box);
    setInterval(() => !document.hidden && this.age(), 30_000);
  }

  measure(view) {
    const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
    this.height = Math.round(parseFloat(getComputedStyle(this.box).getPropertyValue("--row")) * rem) || 44;
    this.view = view;
    if (!this.list || view === 0) return; // not on the screen
    this.stretch();
    this.draw();
  }

  /** Makes the list as tall as all of its rows. */
  stretch() {
    const real = this.list.length * this.height;
    this.scale = real > TALLEST ? (real - this.view) / (TALLEST - this.view) : 1;
    this.body.style.height = `${Math.min(real, TALLEST)}px`;
  }

  /** Number of rows that fit. */
  page() {
    return Math.max(1, Math.floor(this.view / this.height));
  }

  /** Shows another list, or what has become of it; the row at the top edge stays where it is
   *  unless `jump` is true. */
  show(list, total, { jump = false, fresh = null } = {}) {
    this.list = list;
    this.box.setAttribute("aria-rowcount", String(total));
    if (fresh) for (const id of fresh) this.fresh.add(id);
    if (this.view === 0) return;
    const position = this.box.scrollTop * this.scale;
    let top = jump ? 0 : position;
    if (!jump && position > 0) {
      // The first visible row that still exists keeps its place on the screen.
      const found = this.seen.map(([key, index]) => [list.indexOf(key), index]).find(([now]) => now >= 0);
      if (found) top += (found[0] - found[1]) * this.height;
    }
    if (jump && list.indexOf(this.active) < 0) [this.active, this.activeAt] = [null, -1];
    this.stretch();
    if (jump || top !== position) this.box.scrollTop = Math.max(0, top) / this.scale;
    this.draw();
  }

  later() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      this.draw();
    });
  }

  /** Lets "5 min. ago" be so. */
  age() {
    for (const row of this.shown.values()) ageRow(row, row.item);
  }

  draw() {
    if (!this.list || this.view === 0) return;
    const scroll = this.box.scrollTop;
    const position = scroll * this.scale;
    this.first = Math.floor(position / this.height);
    this.end = Math.ceil((position + this.view) / this.height);
    const from = Math.max(0, this.first - SPARE);
    const to = Math.min(this.list.length, this.end + SPARE);
    const items = []; // [item, index]; what was let go is left blank until it is there again
    for (let index = from; index < to; index += 1) {
      const item = this.list.at(index);
      if (item) items.push([item, index]);
    }
    const wanted = new Set(items.map(([item]) => keyOf(item)));
    for (const [key, row] of this.shown) {
      if (wanted.has(key)) continue;
      row.remove();
      this.shown.delete(key);
    }
    let next = this.body.firstChild;
    for (const [item, index] of items) {
      let row = this.shown.get(keyOf(item));
      if (!row) {
        row = document.createElement("div");
        this.shown.set(keyOf(item), row);
      }
      if (row.item !== item) {
        drawRow(row, item, this.place);
        row.item = item;
        if (this.fresh.has(keyOf(item))) this.flash(row);
      }
      row.setAttribute("aria-rowindex", String(index + 1));
      this.mark(row, item);
      const y = scroll + index * this.height - position;
      row.style.transform = `translateY(${Math.round(y)}px)`;
      // The order in the document is the order on the screen, for who reads it aloud.
      if (row === next) next = row.nextSibling;
      else this.body.insertBefore(row, next);
    }
    this.fresh.clear();
    this.seen = items.filter(([, index]) => index >= this.first && index < this.end).map(([item, index]) => [keyOf(item), index]);
    const active = this.active && this.shown.get(this.active);
    if (active) this.box.setAttribute("aria-activedescendant", active.id);
    else this.box.removeAttribute("aria-activedescendant");
    this.on.near(from, to);
  }

  mark(row, item) {
    row.classList.toggle("active", keyOf(item) === this.active);
    if (isEntry(item)) row.setAttribute("aria-selected", String(this.selected.has(keyOf(item))));
  }

  /** Draws the eye to a row that just changed; the style sheet leaves it out for reduced motion. */
  flash(row) {
    if (row.classList.contains("fresh")) {
      row.classList.remove("fresh");
      void row.offsetWidth; // starts the animation anew
    }
    row.classList.add("fresh");
  }

  activate(index, { extend = false } = {}) {
    if (!this.list?.length) return;
    const to = Math.max(0, Math.min(this.list.length - 1, index));
    if (!extend) this.anchor = null;
    else if (this.anchor === null) [this.anchor, this.anchorAt] = [this.active, Math.max(0, this.index())];
    if (extend) this.range(this.find(this.anchor, this.anchorAt), to);
    const item = this.list.at(to);
    if (item) [this.active, this.activeAt] = [keyOf(item), to];
    const position = this.box.scrollTop * this.scale;
    const [above, below] = [to * this.height, (to + 1) * this.height - this.view];
    if (above < position) this.box.scrollTop = above / this.scale;
    else if (below > position) this.box.scrollTop = below / this.scale;
    this.draw();
  }

  /** Index of a key; where that is not loaded now, where it was last. */
  find(key, last) {
    const index = this.list.indexOf(key);
    return index < 0 ? last : index;
  }

  /** Index of the active row, -1 for none. */
  index() {
    return this.find(this.active, this.activeAt);
  }

  range(one, other) {
    this.selected = new Set(this.list.ids(Math.min(one, other), Math.max(one, other) + 1));
    this.on.selection();
  }

  toggle(item) {
    if (!isEntry(item)) return item && this.on.act(item);
    if (!this.selected.delete(keyOf(item))) this.selected.add(keyOf(item));
    this.on.selection();
    this.draw();
  }

  clear() {
    this.selected.clear();
    this.anchor = null;
    this.on.selection();
    this.draw();
  }

  clicked(event) {
    const row = event.target.closest(".row");
    if (!row) return;
    const index = this.list.indexOf(row.key);
    if (index < 0) return;
    const { item } = row;
    if (event.shiftKey && this.active !== null) this.activate(index, { extend: true });
    else {
      this.activate(index);
      if (event.ctrlKey || event.metaKey || event.target.closest(".entry .c-check, .more")) this.toggle(item);
      else this.on.open(item);
    }
  }

  pressed(event) {
    if (event.altKey || !this.list) return;
    const now = Math.max(0, this.index());
    const moves = {
      ArrowDown: this.index() + 1, ArrowUp: now - 1, PageDown: now + this.page(), PageUp: now - this.page(),
      Home: 0, End: this.list.length - 1,
    };
    const command = event.ctrlKey || event.metaKey;
    if (event.key in moves && !command) this.activate(moves[event.key], { extend: event.shiftKey });
    else if (event.key === " ") this.toggle(this.shown.get(this.active)?.item);
    else if (event.key === "Enter" && this.shown.has(this.active)) this.on.open(this.shown.get(this.active).item);
    else if (event.key === "Backspace") this.on.up();
    else if (event.key === "a" && command) {
      this.range(0, this.list.length - 1);
      this.draw();
    } else return;
    event.preventDefault();
  }
}
