// What can be done with the selected entries, and with a whole place.

import { askDialog } from "./ask.js";
import { $, setText, toast } from "./dom.js";
import { startJob } from "./jobs.js";
import { here } from "./place.js";
import { t } from "./strings.js";

/** Wires the bar of the selection and the actions of the place. */
export function bulkActions(library) {
  const run = async (action) => {
    let files = [...library.grid.selected];
    if (files.length === 0) return;
    if (action === "retry") {
      const failed = new Set([...library.rows.states()].filter(({ status }) => status === "failed").map(({ id }) => id));
      files = files.filter((id) => failed.has(id));
    }
    if (files.length === 0) return toast(t("nothingFailed"));
    if (await startJob({ action: action === "verify" ? "verify" : "process", files })) library.grid.clear();
  };
  for (const action of ["process", "verify", "retry"]) $(`bulk-${action}`).addEventListener("click", () => run(action));
  $("bulk-clear").addEventListener("click", () => {
    library.grid.clear();
    $("grid").focus();
  });
  $("place-menu").addEventListener("click", () => actOn(here().in));
  return {
    run,
    draw() {
      const n = library.grid.selected.size;
      $("bulk").hidden = n === 0;
      if (n > 0) setText($("bulk-text"), t("selected", { n }));
    },
  };
}

/** Asks what to do with everything in a directory ("" for all of them), and does it. */
export async function actOn(directory) {
  const choice = await askDialog({
    title: t("placeTitle", { place: directory || t("everything") }),
    text: t("placeText"),
    choices: [
      { value: "process unprocessed", label: t("processNew"), primary: true },
      { value: "process failed", label: t("retryAll") },
      { value: "verify all", label: t("verifyAll") },
      { value: "process all", label: t("processAll") },
    ],
  });
  if (!choice) return;
  const [action, scope] = choice.split(" ");
  const body = { action, scope };
  if (directory) body[directory.includes("/") ? "directory" : "folder"] = directory;
  await startJob(body);
}
