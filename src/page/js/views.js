// The three parts of the page. A wide screen shows them beside each other, a narrow one at a time.

import { $ } from "./dom.js";

/** Wires the switch between the parts. */
export function views() {
  const buttons = [...document.querySelectorAll(".views button")];
  const open = (name, focus = false) => {
    document.body.dataset.view = name;
    for (const button of buttons) {
      if (button.dataset.view === name) button.setAttribute("aria-current", "page");
      else button.removeAttribute("aria-current");
    }
    if (focus) $(name === "library" ? "grid" : name).focus();
  };
  for (const button of buttons) button.addEventListener("click", () => open(button.dataset.view));
  return { open };
}
