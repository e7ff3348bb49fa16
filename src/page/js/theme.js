// Light and dark: as the system has it, or as chosen here; remembered in this browser.

import { $, toast } from "./dom.js";
import { recall, remember } from "./store.js";
import { t } from "./strings.js";

const names = { auto: "themeAuto", light: "themeLight", dark: "themeDark" };
const order = Object.keys(names);

function apply(theme) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}

const chosen = () => (recall("theme") in names ? recall("theme") : "auto");

// Before the first paint: the script blocks rendering for this.
apply(chosen());

/** Makes the button go through the choices. */
export function themeButton() {
  const button = $("theme");
  const label = () => {
    button.setAttribute("aria-label", t(names[chosen()]));
    button.title = t(names[chosen()]);
  };
  button.addEventListener("click", () => {
    const next = order[(order.indexOf(chosen()) + 1) % order.length];
    remember("theme", next === "auto" ? null : next);
    apply(next);
    label();
    toast(t(names[next]));
  });
  // Another tab of this browser changes too.
  addEventListener("storage", () => {
    apply(chosen());
    label();
  });
  label();
}
