// What axe-core has to say about a page.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";

const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** Every rule of axe for WCAG 2.2 AA, and its best practices. */
export async function violations(tab) {
  // Not by a script element, which the page's own policy forbids.
  await tab.page.evaluate(axe);
  const { violations: found, passes } = await tab.page.evaluate(() => globalThis.axe.run(document));
  assert.ok(passes.length > 5, "axe looked at nothing");
  return found.map(({ id, nodes }) => `${id}: ${nodes.map(({ html, failureSummary }) => `${html} ${failureSummary}`).join("; ")}`);
}
