// The token that a server may want for changes. It stays in this browser's storage and goes out
// only as a header to this server.

import { askDialog } from "./ask.js";
import { el } from "./dom.js";
import { recall, remember } from "./store.js";
import { t } from "./strings.js";

let kept = recall("token");
let asking = null;

/** The token, or null. */
export const token = () => kept;

/** Asks for the token; resolves to whether there is a new one to try. Calls share one question. */
export function askToken() {
  asking ??= question().finally(() => (asking = null));
  return asking;
}

async function question() {
  const input = el("input", { type: "password", id: "token", autocomplete: "current-password", required: true });
  const field = el("label", { class: "field" }, el("span", { text: t("token") }), input);
  const text = kept ? `${t("tokenWrong")} ${t("tokenText")}` : t("tokenText");
  const given = await askDialog({ title: t("tokenTitle"), text, extra: field, choices: [{ value: "yes", label: t("tokenSave"), primary: true }] });
  if (given !== "yes" || input.value === "") return false;
  kept = input.value;
  remember("token", kept);
  return true;
}
