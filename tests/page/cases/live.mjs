// Changes on the disk become changes of rows, in place.

import assert from "node:assert/strict";
import { test, until } from "../lib/harness.mjs";

const numbered = (number) => Object.fromEntries(
  Array.from({ length: number }, (_, index) => [`comics/${String(index).padStart(4, "0")}.cbz`, `content ${index}`]));

test("a new file appears, is processed, changes and goes, without a new list", async ({ shelf, browser }) => {
  const nas = await shelf({ files: { "comics/a.cbz": "a" } });
  // Between list and stream nothing may happen: then the page would rightly read the list again.
  await until("processed", async () => (await nas.get("api/files")).counts.processed === 1);
  const tab = await (await browser()).open(nas.url);
  await tab.row("a.cbz");
  tab.requests.length = 0;
  await nas.add({ "comics/b.cbz": "b" });
  const row = await tab.row("b.cbz");
  await until("the state Done", async () => (await row.textContent()).includes("Done"));
  await tab.has("#range", "2 files");
  await nas.move("comics/b.cbz", "comics/c.cbz");
  await tab.row("c.cbz");
  await tab.gone("b.cbz");
  await nas.remove("comics/c.cbz");
  await tab.gone("c.cbz");
  await tab.has("#range", "1 file");
  assert.deepEqual(tab.requests.filter((url) => /api\/files/.test(url)), [], "the list was read again");
  tab.check();
});

test("the console says what operators look for", async ({ shelf, browser }) => {
  const nas = await shelf();
  const tab = await (await browser()).open(nas.url);
  await nas.add({ "comics/a.cbz": "a" });
  await tab.row("a.cbz");
  await until("the lines", () => tab.console.includes("info: SSE: Connected to event stream")
    && tab.console.some((line) => line.startsWith("debug: SSE Event: cache_updated ")));
});

test("rows above come and go without a jump of what is on the screen", async ({ shelf, browser }) => {
  const nas = await shelf({ files: numbered(300) });
  const tab = await (await browser()).open(nas.url);
  await tab.row("0000.cbz");
  await tab.page.$eval("#grid", (grid) => (grid.scrollTop = 2000));
  const place = () => tab.page.evaluate(() => {
    const top = document.getElementById("grid").getBoundingClientRect().top;
    const rows = [...document.querySelectorAll("#rows .row")].map((row) => [row.querySelector(".name").textContent, row.getBoundingClientRect().top - top]);
    return rows.find(([, y]) => y >= 0);
  });
  const before = await until("rows further down", async () => {
    const found = await place();
    return found && Number.parseInt(found[0], 10) > 20 ? found : null;
  });
  await nas.add({ "comics/0000-a.cbz": "a", "comics/0000-b.cbz": "b", "comics/0000-c.cbz": "c" });
  await tab.has("#range", "of 303 files");
  assert.deepEqual(await place(), before);
  await nas.remove("comics/0000-b.cbz");
  await tab.has("#range", "of 302 files");
  assert.deepEqual(await place(), before);
  tab.check();
});

test("what is being typed and what has the focus stay while the list is read again", async ({ shelf, browser }) => {
  const nas = await shelf({ files: { "comics/a/1.cbz": "a" } });
  const tab = await (await browser()).open(`${nas.url}#in=comics/a`);
  await tab.row("1.cbz");
  const again = async () => {
    const before = tab.requests.length;
    await tab.page.evaluate(() => dispatchEvent(new PageTransitionEvent("pageshow", { persisted: true })));
    await until("another reading", () => tab.requests.slice(before).some((url) => url.includes("api/files?")));
  };
  await tab.page.focus("#crumbs a >> nth=1");
  await again();
  assert.equal(await tab.page.evaluate(() => document.activeElement.textContent), "comics");
  // Longer than one waits for the next letter, in case the list comes just then.
  await tab.page.evaluate(() => {
    const { setTimeout } = globalThis;
    globalThis.setTimeout = (act, ms) => setTimeout(act, ms === 120 ? 3000 : ms);
  });
  await tab.page.focus("#search");
  await tab.page.keyboard.type("bat");
  await again();
  await tab.page.keyboard.type("man");
  await until("the search", async () => (await tab.page.evaluate(() => location.hash)).includes("q=batman"));
  assert.equal(await tab.page.inputValue("#search"), "batman");
});

test("a row that does not change is not drawn again", async ({ shelf, browser }) => {
  const nas = await shelf({ files: numbered(20), config: "[processing]\nautomatic = false" });
  const tab = await (await browser()).open(nas.url);
  const row = await tab.row("0003.cbz");
  await row.evaluate((node) => (node.firstChild.mark = "kept"));
  await nas.add({ "comics/0001-a.cbz": "a" });
  await tab.row("0001-a.cbz");
  assert.equal(await row.evaluate((node) => node.isConnected && node.firstChild.mark), "kept");
});

test("a filtered list takes in what fits and lets go of what does not", async ({ shelf, browser }) => {
  const nas = await shelf({ files: { "comics/batman 1.cbz": "1", "comics/tintin 1.cbz": "2" } });
  const tab = await (await browser()).open(`${nas.url}#q=BATMAN`);
  await tab.row("batman 1.cbz");
  await nas.add({ "comics/tintin 2.cbz": "3", "comics/Batman 2.cbz": "4" });
  await tab.row("Batman 2.cbz");
  assert.deepEqual(await tab.names(), ["Batman 2.cbz", "batman 1.cbz"]);
  await nas.move("comics/batman 1.cbz", "comics/robin.cbz");
  await tab.gone("batman 1.cbz");
  await tab.has("#range", "1 file");
});

test("ten thousand files leave the page fluid and the list right", async ({ shelf, browser }) => {
  const nas = await shelf({ files: numbered(50) });
  const tab = await (await browser()).open(nas.url);
  await tab.row("0000.cbz");
  await tab.page.evaluate(() => {
    globalThis.longest = 0;
    new PerformanceObserver((list) => {
      for (const { duration } of list.getEntries()) globalThis.longest = Math.max(globalThis.longest, duration);
    }).observe({ type: "longtask" });
  });
  await nas.flood("comics/many", 10_000);
  await nas.sync();
  await tab.has("#filters .chip[data-status=all]", "10,050", 60_000);
  await until("the list as the server has it", async () => {
    const server = (await nas.get("api/files?limit=12")).files.map(({ name }) => name);
    return JSON.stringify((await tab.names()).slice(0, 12)) === JSON.stringify(server);
  });
  const longest = await tab.page.evaluate(() => globalThis.longest);
  console.log(`        longest task ${Math.round(longest)} ms`);
  assert.ok(longest < 200, `a task took ${longest} ms`);
  tab.check();
});
