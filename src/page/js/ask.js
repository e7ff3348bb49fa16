// Questions: one native dialog, which keeps the focus inside and gives it back by itself.

import { $, el } from "./dom.js";
import { t } from "./strings.js";

/**
 * Shows a question with buttons; resolves to the value of the one chosen, or to null.
 * `extra` is put between the text and the buttons.
 */
export function askDialog({ title, text, extra = null, choices = [] }) {
  const dialog = $("ask");
  if (dialog.open) dialog.close();
  const buttons = choices.map(({ value, label, primary }) =>
    el("button", { type: "submit", value, class: primary ? "primary" : null, text: label }));
  const form = el("form", { method: "dialog" },
    el("h2", { id: "ask-title", text: title }),
    text ? el("p", { text }) : null,
    extra,
    el("div", { class: "actions" }, ...buttons,
      el("button", { type: "submit", value: "", class: "quiet", formnovalidate: true, text: choices.length ? t("cancel") : t("close") })),
  );
  dialog.replaceChildren(form);
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue || null), { once: true });
  });
}
