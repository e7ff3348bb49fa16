// What a fresh install shows: nothing is configured, and three steps change that.

import { el } from "./dom.js";
import { t } from "./strings.js";

const code = (...lines) => el("pre", { tabindex: "0" }, el("code", { translate: "no", text: lines.join("\n") }));

/** The first steps, for a server without a folder. */
export function firstStart() {
  return el("div", { class: "first" },
    el("h3", { text: t("firstTitle") }),
    el("p", { text: t("firstText") }),
    el("ol", {},
      el("li", {}, el("p", { text: t("firstEdit") }), code("sudo nano /etc/shelfcast/shelfcast.toml")),
      el("li", {}, el("p", { text: t("firstLine") }), code("[[folder]]", 'path = "/srv/comics"')),
      el("li", {}, el("p", { text: t("firstRestart") }), code("sudo systemctl restart shelfcast"))),
    el("p", { class: "faint", text: t("firstHint") }), code("shelfcast /srv/comics"));
}
