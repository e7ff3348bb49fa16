// Weight and speed of the first view.

import assert from "node:assert/strict";
import { test } from "../lib/harness.mjs";

test("the first view is six requests, light, and fast", async ({ shelf, browser }) => {
  const nas = await shelf({ files: Object.fromEntries(Array.from({ length: 200 }, (_, index) => [`comics/${index}.cbz`, `${index}`])) });
  const chromium = await browser();
  const tab = await chromium.open(nas.url, {
    init: () => {
      const seen = new MutationObserver(() => {
        if (!document.querySelector("#rows .row.entry")) return;
        globalThis.usable = performance.now();
        seen.disconnect();
      });
      seen.observe(document, { subtree: true, childList: true });
    },
  });
  await tab.page.waitForTimeout(500);
  const loaded = await tab.page.evaluate(() => {
    const [document] = performance.getEntriesByType("navigation");
    const all = [document, ...performance.getEntriesByType("resource")];
    const first = all.filter(({ startTime }) => startTime <= globalThis.usable);
    return { usable: globalThis.usable, names: first.map(({ name }) => new URL(name).pathname), bytes: first.reduce((sum, { transferSize }) => sum + transferSize, 0) };
  });
  console.log(`        usable after ${Math.round(loaded.usable)} ms; ${loaded.names.length} requests of the page, ${loaded.bytes} bytes`);
  // The stream is the worker's, whose requests the page does not see.
  assert.ok(loaded.names.length <= 5, loaded.names.join(" "));
  assert.ok(loaded.bytes <= 60 * 1024, `${loaded.bytes} bytes`);
  // Warm, as the owner sees it each time but the first; twice the goal, for a busy machine.
  const times = [];
  for (let round = 0; round < 5; round += 1) {
    await tab.page.reload();
    await tab.state("live");
    times.push(await tab.page.evaluate(() => globalThis.usable));
  }
  times.sort((one, other) => one - other);
  console.log(`        usable after reload: ${times.map(Math.round).join(", ")} ms`);
  assert.ok(times[0] < 200, `usable after ${times[0]} ms`);
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
