// One row of the list. Names are text, in the body and in the title alike.

import { el, icon, setText } from "./dom.js";
import * as format from "./format.js";
import { parent } from "./rows.js";
import { t } from "./strings.js";

/** What the state column shows of an entry: an icon with a shape of its own, and a word. */
export function stateOf(entry) {
  if (entry.status === "processed" && entry.duplicate_of !== null) return "duplicate";
  return entry.status;
}

/** An item is an entry or a directory `{path, note, number}`. */
export const isEntry = (item) => item?.id !== undefined;
export const keyOf = (item) => item.id ?? item.path;

/** Fills a row's element from its item; `place` is the directory that is shown. */
export function drawRow(row, item, place) {
  row.key = keyOf(item);
  row.id = isEntry(item) ? `r-${item.id}` : `d-${item.number}`;
  row.setAttribute("role", "row");
  if (isEntry(item)) drawEntry(row, item, place);
  else drawDirectory(row, item);
}

/** Brings the age that a row shows up to date. */
export function ageRow(row, item) {
  if (isEntry(item)) setText(row.querySelector("time"), format.when(item.modified));
}

const cell = (name, ...children) => el("span", { role: "gridcell", class: name }, ...children);

function drawEntry(row, entry, place) {
  const state = stateOf(entry);
  const directory = parent(entry.path);
  row.className = `row entry ${row.classList.contains("fresh") ? "fresh" : ""}`;
  row.title = format.name(entry.path);
  const shown = place === directory ? "" : directory;
  const reason = entry.error ?? entry.waiting;
  row.replaceChildren(
    cell("c-check", el("span", { class: "box" }, icon("check"))),
    cell("c-name", el("span", { class: "name", dir: "auto", text: format.name(entry.name) }), shown ? el("span", { class: "dir", dir: "auto", text: format.name(shown) }) : null),
    cell(`c-state s-${state}`, icon(state), el("span", { text: t(`status.${state}`) }),
      reason ? el("span", { class: "reason", dir: "auto", title: reason, text: reason }) : null),
    cell("c-size", format.size(entry.size)),
    cell("c-when", el("time", { datetime: format.iso(entry.modified), text: format.when(entry.modified),
      mouseenter: ({ target }) => (target.title = format.date(entry.modified)) })),
  );
}

function drawDirectory(row, directory) {
  row.className = "row directory";
  row.title = format.name(directory.path);
  row.replaceChildren(
    cell("c-check", icon("folder")),
    cell("c-name", el("span", { class: "name", dir: "auto", text: format.name(directory.path.split("/").at(-1)) })),
    cell(`c-state ${directory.offline ? "s-offline" : "faint"}`, directory.offline ? icon("offline") : "", el("span", { text: directory.note })),
    cell("c-size"),
    // For pointers; Space does the same, since the focus stays on the grid.
    cell("c-when", el("button", { type: "button", class: "quiet icon-button more", tabindex: "-1", "aria-label": t("placeTitle", { place: directory.path }) }, icon("more"))),
  );
}
