// The list on the screen: only what is visible is in the document. Rows are kept by key, so that a
// change redraws the row it names and no other. The focus stays on the grid and
// `aria-activedescendant` names the active row, which so survives its row's coming and going.

import { $ } from "./dom.js";
import { ageRow, drawRow, isEntry, keyOf } from "./row.js";

/** Rows kept beyond each edge, for smooth scrolling. */
const SPARE = 6;
/** Browsers stop laying out somewhere between 17 and 33 million pixels; beyond this the scroll
 *  position is a scaled one. */
const TALLEST = 8_000_000;

export class Grid {
  /** `on` has `open(item)`, `near()` (the end is near), `selection()`, `up()`. */
  constructor(on) {
    this.on = on;
    this.box = $("grid");
    this.body = $("rows");
    this.items = [];
    this.place = ""; // the directory that is shown
    this.total = 0;
    this.shown = new Map();
    this.active = null;
    this.anchor = null;
    this.selected = new Set();
    this.fresh = new Set();
    this.top = 0;
    this.measure();
    this.box.addEventListener("scroll", () => this.later(), { passive: true });
    this.box.addEventListener("click", (event) => this.clicked(event));
    this.box.addEventListener("keydown", (event) => this.pressed(event));
    this.box.addEventListener("focus", () => this.active ?? this.activate(this.first()));
    new ResizeObserver(() => {
      this.measure();
      this.draw();
    }).observe(this.box);
    setInterval(() => !document.hidden && this.age(), 30_000);
  }

  measure() {
    const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
    this.height = Math.round(parseFloat(getComputedStyle(this.box).getPropertyValue("--row")) * rem) || 44;
    this.view = this.box.clientHeight;
  }

  get scale() {
    const real = this.items.length * this.height;
    return real > TALLEST ? (real - this.view) / (TALLEST - this.view) : 1;
  }

  /** First visible index. */
  first() {
    return Math.floor((this.box.scrollTop * this.scale) / this.height);
  }

  /** Number of rows that fit. */
  page() {
    return Math.max(1, Math.floor(this.view / this.height));
  }

  /** Shows other items; the row at the top edge stays where it is unless `jump` is true. */
  show(items, total, { jump = false, fresh = null } = {}) {
    const position = this.box.scrollTop * this.scale;
    const from = Math.floor(position / this.height);
    const before = this.items;
    this.items = items;
    this.total = total;
    if (fresh) for (const id of fresh) this.fresh.add(id);
    let top = jump ? 0 : position;
    if (!jump && position > 0 && before !== items) {
      // The first visible row that still exists keeps its place on the screen.
      const where = new Map();
      for (let index = from; index < Math.min(before.length, from + this.page() + 1); index += 1) where.set(keyOf(before[index]), index);
      const index = items.findIndex((item) => where.has(keyOf(item)));
      if (index >= 0) top = position + (index - where.get(keyOf(items[index]))) * this.height;
    }
    this.body.style.height = `${Math.min(items.length * this.height, TALLEST)}px`;
    const wanted = Math.max(0, top) / this.scale;
    if (jump || Math.abs(wanted - this.box.scrollTop) >= 0.5) this.box.scrollTop = wanted;
    this.box.setAttribute("aria-rowcount", String(total));
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
    const scroll = this.box.scrollTop;
    const position = scroll * this.scale;
    const from = Math.max(0, Math.floor(position / this.height) - SPARE);
    const to = Math.min(this.items.length, Math.ceil((position + this.view) / this.height) + SPARE);
    const wanted = new Set();
    for (let index = from; index < to; index += 1) wanted.add(keyOf(this.items[index]));
    for (const [key, row] of this.shown) {
      if (wanted.has(key)) continue;
      row.remove();
      this.shown.delete(key);
    }
    let next = this.body.firstChild;
    for (let index = from; index < to; index += 1) {
      const item = this.items[index];
      let row = this.shown.get(keyOf(item));
      if (!row) {
        row = document.createElement("div");
        this.shown.set(keyOf(item), row);
      }
      if (row.item !== item) {
        const known = row.item !== undefined && row.item !== null;
        drawRow(row, item, this.place);
        row.item = item;
        if (this.fresh.has(keyOf(item))) this.flash(row, known);
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
    const active = this.active && this.shown.get(this.active);
    if (active) this.box.setAttribute("aria-activedescendant", active.id);
    else this.box.removeAttribute("aria-activedescendant");
    if (to >= this.items.length - 30) this.on.near();
    this.on.moved?.();
  }

  mark(row, item) {
    row.classList.toggle("active", keyOf(item) === this.active);
    if (isEntry(item)) row.setAttribute("aria-selected", String(this.selected.has(keyOf(item))));
  }

  /** Draws the eye to a row that just changed; the style sheet leaves it out for reduced motion. */
  flash(row) {
    row.classList.remove("fresh");
    void row.offsetWidth; // starts the animation anew
    row.classList.add("fresh");
  }

  activate(index, { extend = false } = {}) {
    if (this.items.length === 0) return;
    const to = Math.max(0, Math.min(this.items.length - 1, index));
    const from = this.index();
    const item = this.items[to];
    if (extend) {
      this.anchor ??= keyOf(this.items[Math.max(0, from)]);
      this.range(this.items.findIndex((other) => keyOf(other) === this.anchor), to);
    } else this.anchor = null;
    this.active = keyOf(item);
    const position = this.box.scrollTop * this.scale;
    const [above, below] = [to * this.height, (to + 1) * this.height - this.view];
    if (above < position) this.box.scrollTop = above / this.scale;
    else if (below > position) this.box.scrollTop = below / this.scale;
    this.draw();
  }

  /** Index of the active row, -1 for none. */
  index() {
    return this.active === null ? -1 : this.items.findIndex((item) => keyOf(item) === this.active);
  }

  range(one, other) {
    this.selected.clear();
    for (let index = Math.min(one, other); index <= Math.max(one, other); index += 1) {
      if (isEntry(this.items[index])) this.selected.add(keyOf(this.items[index]));
    }
    this.on.selection();
  }

  toggle(item) {
    if (!isEntry(item)) return;
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
    const index = this.items.findIndex((item) => keyOf(item) === row.key);
    if (index < 0) return;
    const item = this.items[index];
    if (event.shiftKey && this.active !== null) this.activate(index, { extend: true });
    else {
      this.activate(index);
      if (event.ctrlKey || event.metaKey || event.target.closest(".c-check")) this.toggle(item);
      else this.on.open(item);
    }
  }

  pressed(event) {
    if (event.altKey) return;
    const now = Math.max(0, this.index());
    const moves = {
      ArrowDown: this.index() + 1, ArrowUp: now - 1, PageDown: now + this.page(), PageUp: now - this.page(),
      Home: 0, End: this.items.length - 1,
    };
    const command = event.ctrlKey || event.metaKey;
    if (event.key in moves && !command) this.activate(moves[event.key], { extend: event.shiftKey });
    else if (event.key === " ") this.toggle(this.items[this.index()]);
    else if (event.key === "Enter" && this.index() >= 0) this.on.open(this.items[this.index()]);
    else if (event.key === "Backspace") this.on.up();
    else if (event.key === "a" && command) {
      this.range(0, this.items.length - 1);
      this.draw();
    } else return;
    event.preventDefault();
  }
}
