// Many tabs, one connection.

import assert from "node:assert/strict";
import { test, until } from "../lib/harness.mjs";

const ways = {
  "a worker": null,
  "an elected tab": () => delete globalThis.SharedWorker,
};

for (const [way, init] of Object.entries(ways)) {
  test(`twelve tabs share one stream through ${way}`, async ({ shelf, browser }) => {
    const nas = await shelf({ files: { "comics/a.cbz": "a" } });
    const chromium = await browser();
    const tabs = [];
    for (let number = 0; number < 12; number += 1) tabs.push(await chromium.open(nas.url, { init }));
    assert.equal(await tabs[0].page.evaluate(() => isSecureContext), false);
    await until("one client", async () => (await nas.stats()).active_clients === 1);
    await nas.add({ "comics/b.cbz": "b" });
    for (const tab of tabs) await tab.row("b.cbz");
    for (const tab of tabs) {
      assert.ok(tab.console.includes("info: SSE: Connected to event stream"));
      await until("the event in the console", () => tab.console.some((line) => line.includes("SSE Event: cache_updated")));
      assert.equal(await tab.page.locator(".folder").count(), 1, "a tab that came later knows the folders");
      tab.check();
    }
  });

  test(`when the first tab closes, the others go on through ${way}`, async ({ shelf, browser }) => {
    const nas = await shelf({ files: { "comics/a.cbz": "a" } });
    const chromium = await browser();
    const tabs = [];
    for (let number = 0; number < 4; number += 1) tabs.push(await chromium.open(nas.url, { init }));
    await tabs.shift().page.close();
    const began = Date.now();
    await nas.add({ "comics/b.cbz": "b" });
    for (const tab of tabs) await tab.row("b.cbz");
    const took = Date.now() - began;
    console.log(`        taken over after at most ${took} ms`);
    assert.ok(took < 3000, `taken over after ${took} ms`);
    await until("one client", async () => (await nas.stats()).active_clients === 1);
    for (const tab of tabs) tab.check();
  });
}

test("when the leading tab crashes, another leads within two seconds and nothing is lost", async ({ shelf, browser }) => {
  const nas = await shelf({ files: { "comics/a.cbz": "a" } });
  const chromium = await browser();
  const init = ways["an elected tab"];
  const leader = await chromium.open(nas.url, { init });
  const other = await chromium.open(nas.url, { init });
  // A page whose script hangs keeps its lease no longer, and says no goodbye.
  const crash = await chromium.context.newCDPSession(leader.page);
  crash.send("Page.crash").catch(() => {});
  const began = Date.now();
  await until("another lease", async () => {
    const lease = await other.page.evaluate(() => JSON.parse(localStorage.getItem("shelfcast.leader")));
    globalThis.first ??= lease?.tab;
    return lease && lease.tab !== globalThis.first;
  }, { within: 5000, every: 20 });
  const took = Date.now() - began;
  console.log(`        another lease after ${took} ms`);
  assert.ok(took < 2300, `taken over after ${took} ms`);
  await nas.add({ "comics/b.cbz": "b" });
  await other.row("b.cbz");
  other.check();
});

test("a page that comes back from the history is live again", async ({ shelf, browser }) => {
  const nas = await shelf({ files: { "comics/a.cbz": "a" } });
  const tab = await (await browser()).open(nas.url);
  await tab.page.goto(`http://127.0.0.1:${nas.port}/api/cache/stats`);
  await nas.add({ "comics/b.cbz": "b" });
  await tab.page.goBack();
  await tab.state("live");
  await tab.row("b.cbz");
});
