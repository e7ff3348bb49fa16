// Where the owner is in the library, kept in the address, so that back, forward, reload and links
// work: #in=comics/a&status=failed&q=batman&sort=-modified

const defaults = { in: "", status: "all", q: "", sort: "path" };
export const sorts = ["path", "-path", "name", "-name", "-modified", "modified", "-size", "size"];

/** The place that the address names. */
export function here() {
  const found = { ...defaults };
  for (const [key, value] of new URLSearchParams(location.hash.slice(1))) if (key in found) found[key] = value;
  if (!sorts.includes(found.sort)) found.sort = defaults.sort;
  return found;
}

/** The address of the place with some parts changed. */
export function link(change) {
  const place = { ...here(), ...change };
  const set = Object.entries(place).filter(([key, value]) => value !== defaults[key]);
  // Slashes are allowed in a fragment and easier to read.
  return `#${new URLSearchParams(set).toString().replaceAll("%2F", "/")}`;
}

/** Goes there; `replace` leaves no step in the history (typing). */
export function go(change, { replace = false } = {}) {
  const target = link(change);
  if (target === (location.hash || "#")) return;
  if (replace) history.replaceState(null, "", target);
  else history.pushState(null, "", target);
  dispatchEvent(new Event("place"));
}

/** What to ask the server for: a search looks everywhere in the folder, else one directory is shown. */
export function toQuery(place) {
  const folder = place.in.split("/")[0];
  const query = { sort: place.sort, status: place.status === "all" ? "" : place.status, search: place.q };
  if (place.q) query.folder = folder;
  else query.directory = place.in;
  return query;
}
