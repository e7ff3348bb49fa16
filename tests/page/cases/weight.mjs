// Weight of the first view. Its speed is measured by `run --measure`.

import assert from "node:assert/strict";
import { firstView, noteUsable } from "../lib/first-view.mjs";
import { test, until } from "../lib/harness.mjs";

test("the first view is six requests and at most 60 KiB", async ({ shelf, browser }) => {
  const nas = await shelf({ files: Object.fromEntries(Array.from({ length: 200 }, (_, index) => [`comics/${index}.cbz`, `${index}`])) });
  const tab = await (await browser()).open(nas.url, { init: noteUsable });
  const loaded = await until("the rows", () => firstView(tab.page));
  // The stream is the worker's, whose requests the page does not see.
  assert.ok(loaded.names.length <= 5, loaded.names.join(" "));
  assert.ok(loaded.bytes <= 60 * 1024, `${loaded.bytes} bytes`);
});

test("a reload is answered with 304 and takes its assets from the cache", async ({ shelf, browser }) => {
  const nas = await shelf();
  const chromium = await browser();
  const tab = await chromium.open(nas.url);
  const response = await fetch(`http://127.0.0.1:${nas.port}/`, { headers: { "accept-encoding": "gzip" } });
  const again = await fetch(`http://127.0.0.1:${nas.port}/`, { headers: { "accept-encoding": "gzip", "if-none-match": response.headers.get("etag") } });
  assert.equal(again.status, 304);
  const second = await chromium.open(nas.url);
  const assets = await second.page.evaluate(() => performance.getEntriesByType("resource")
    .filter(({ name }) => name.includes("/assets/")).map(({ transferSize }) => transferSize));
  assert.ok(assets.length >= 2);
  assert.deepEqual(assets.filter((size) => size > 0), [], "assets came over the wire again");
  tab.check();
});

test("the page can be installed", async ({ shelf, browser }) => {
  const nas = await shelf();
  const tab = await (await browser()).open(nas.url);
  const manifest = await tab.page.evaluate(async () => {
    const link = document.querySelector("link[rel=manifest]").href;
    const found = await (await fetch(link)).json();
    const icons = await Promise.all(found.icons.map(async ({ src }) => (await fetch(new URL(src, link))).status));
    return { ...found, icons };
  });
  assert.equal(manifest.display, "standalone");
  assert.deepEqual(manifest.icons, [200, 200, 200]);
});
