// Small helpers around the document. Whatever comes from disk or network goes in as text or as an
// attribute's value, never as markup: no function here parses HTML.

const SVG = "http://www.w3.org/2000/svg";

/** The element with this id. */
export const $ = (id) => document.getElementById(id);

/**
 * Makes an element. `text` becomes its text, functions become listeners, `null`, `undefined` and
 * `false` leave an attribute out, `true` sets it empty, and everything else is its value.
 */
export function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "text") made.textContent = value;
    else if (typeof value === "function") made.addEventListener(name, value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** Makes an SVG element. */
export function svg(tag, attributes = {}) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

/** Makes one of the icons of index.html; decoration only, the words stand beside it. */
export function icon(name) {
  const made = svg("svg", { class: `icon icon-${name}`, "aria-hidden": "true" });
  made.append(svg("use", { href: `#i-${name}` }));
  return made;
}

/** Sets the text only where it differs, so that nothing is drawn or read out for nothing. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

let saying = 0;

/** Tells a screen reader, politely, and only the newest of what comes within a second. */
export function say(text) {
  clearTimeout(saying);
  saying = setTimeout(() => setText($("say"), text), 900);
}

let toasting = 0;

/** Shows an answer to something that was just done; its facts are always elsewhere as well. */
export function toast(text) {
  const box = $("toast");
  box.textContent = text;
  box.hidden = false;
  clearTimeout(toasting);
  toasting = setTimeout(() => (box.hidden = true), 5000);
  say(text);
}
