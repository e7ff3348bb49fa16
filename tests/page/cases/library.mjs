// Finding one's way: folders, search, filters, sorting, details, jobs.

import assert from "node:assert/strict";
import { test, until } from "../lib/harness.mjs";

const files = {
  "comics/Batman/1.cbz": "one", "comics/Batman/2.cbz": "two", "comics/Batman/Extra/3.cbz": "three",
  "comics/Tintin/4.cbz": "four", "photos/copy of 1.jpg": "one",
};
const folders = ["comics", "photos"];

test("folders are walked into, the way back is the breadcrumb, and the back button works", async ({ shelf, browser }) => {
  const nas = await shelf({ files, folders });
  const tab = await (await browser()).open(nas.url);
  await (await tab.row("comics")).click();
  await (await tab.row("Batman")).click();
  await tab.row("1.cbz");
  assert.deepEqual(await tab.names(), ["1.cbz", "2.cbz"]);
  await tab.row("Extra");
  assert.equal((await tab.text("#crumbs")).replace(/\s+/g, " "), "AllcomicsBatman");
  await tab.page.click("#crumbs a >> nth=1");
  await tab.row("Tintin");
  await tab.page.goBack();
  await tab.row("Extra");
  await tab.page.reload();
  await tab.row("Extra");
  tab.check();
});

test("counts of directories follow what happens below them", async ({ shelf, browser }) => {
  const nas = await shelf({ files, folders });
  const tab = await (await browser()).open(`${nas.url}#in=comics`);
  const row = await tab.row("Batman");
  await until("three files", async () => (await row.textContent()).includes("3 files"));
  await nas.add({ "comics/Batman/Extra/5.cbz": "five" });
  await until("four files", async () => (await (await tab.row("Batman")).textContent()).includes("4 files"));
});

test("search, filter and order narrow the list, with counts", async ({ shelf, browser }) => {
  const nas = await shelf({ files, folders });
  const tab = await (await browser()).open(nas.url);
  await tab.row("4.cbz");
  await until("everything processed", async () => (await nas.get("api/files")).counts.processed === 5);
  await tab.page.click(".chip[data-status=duplicate]");
  await tab.has("#range", "1 file");
  const [duplicate] = await tab.names();
  assert.ok(["1.cbz", "copy of 1.jpg"].includes(duplicate), duplicate); // the one that was found later
  await tab.page.click(".chip[data-status=all]");
  await tab.page.selectOption("#sort", "-name");
  await until("the last first", async () => (await tab.names())[0] === "copy of 1.jpg");
  await tab.page.fill("#search", "tintin");
  await until("one", async () => JSON.stringify(await tab.names()) === '["4.cbz"]');
  assert.match(await tab.page.evaluate(() => location.hash), /q=tintin/);
  await tab.page.fill("#search", "no such thing");
  await tab.has("#empty", "Nothing matches");
  await tab.page.click("#empty button");
  await tab.row("1.cbz");
  tab.check();
});

test("the details show history and duplicates", async ({ shelf, browser }) => {
  const nas = await shelf({ files, folders });
  const tab = await (await browser()).open(nas.url);
  await until("everything processed", async () => (await nas.get("api/files")).counts.processed === 5);
  await (await tab.row("1.cbz")).click();
  await tab.has("#details", "copy of 1.jpg");
  await tab.has("#details", "fingerprint: done");
  await tab.page.click("#details .duplicates button");
  await tab.has("#details-title", "copy of 1.jpg");
  await tab.page.keyboard.press("Escape");
  await until("a closed sheet", () => tab.page.$eval("#details", (sheet) => !sheet.open));
  tab.check();
});

test("selected files are verified by a job", async ({ shelf, browser }) => {
  const nas = await shelf({ files: { "comics/a.cbz": "good" } });
  const tab = await (await browser()).open(nas.url);
  await until("processed", async () => (await nas.get("api/files")).counts.processed === 1);
  await (await tab.row("a.cbz")).evaluate((row) => row.querySelector(".c-check").click());
  await tab.has("#bulk-text", "1 selected");
  await tab.page.click("#bulk-verify");
  await until("a completed job", async () => /completed/.test(await tab.text("#jobs")));
  tab.check();
});

test("the first click opens what was clicked, also in a list that was scrolled", async ({ shelf, browser }) => {
  const nas = await shelf({ files: Object.fromEntries(Array.from({ length: 60 }, (_, index) => [`comics/${index + 10}.cbz`, `${index}`])) });
  const tab = await (await browser()).open(nas.url);
  await tab.row("10.cbz");
  await tab.page.$eval("#grid", (grid) => (grid.scrollTop = 700)); // in the middle of a row
  const row = await tab.row("35.cbz");
  await row.click();
  await tab.has("#details-title", "35.cbz");
});

test("a directory is processed by a job, which can be cancelled", async ({ shelf, browser }) => {
  const nas = await shelf({
    files: Object.fromEntries(Array.from({ length: 40 }, (_, index) => [`comics/A/${index}.cbz`, `${index}`])),
    config: '[processing]\nautomatic = false\nworkers = 1\n[[processor]]\nname = "slow"\nmatch = ["**"]\ncommand = ["sleep", "0.5"]',
  });
  const tab = await (await browser()).open(`${nas.url}#in=comics/A`);
  await tab.row("0.cbz");
  await tab.page.click("#place-menu");
  await tab.page.click("#ask button[value='process all']");
  await until("progress with the time left", async () => /\d of 40 · .* left/.test(await tab.text("#jobs")), { within: 30_000 });
  assert.equal(await tab.text("#now-badge"), "1");
  await tab.page.click("#jobs .job-foot button");
  await tab.has("#jobs", "cancelled");
  assert.ok(await tab.page.isHidden("#jobs .job-foot button"), "an ended job cannot be cancelled");
  // From the list it is the same: by its button, and by the space bar.
  await tab.page.click("#crumbs a >> nth=1");
  await (await tab.row("A")).waitForSelector(".more").then((button) => button.click());
  await tab.has("#ask-title", "Actions for");
  await tab.page.keyboard.press("Escape");
  await tab.page.focus("#grid");
  await tab.page.keyboard.press("Home");
  await tab.page.keyboard.press("Space");
  await until("the actions", () => tab.page.$eval("#ask", (dialog) => dialog.open));
  await tab.has("#ask-title", "comics/A");
  tab.check();
});

test("what failed is retried from the selection", async ({ shelf, browser }) => {
  const nas = await shelf({
    files: { "comics/good.cbz": "good", "comics/bad.cbz": "bad" },
    config: '[[processor]]\nname = "picky"\nmatch = ["**/bad.cbz"]\ncommand = ["test", "-e", "{path}.cover.jpg"]',
  });
  const tab = await (await browser()).open(nas.url);
  await until("a failure", async () => (await nas.get("api/files")).counts.failed === 1);
  await tab.page.click(".chip[data-status=failed]");
  const row = await tab.row("bad.cbz");
  await until("why it failed", async () => (await row.textContent()).includes("Failed"));
  await nas.add({ "comics/bad.cbz.cover.jpg": "cover" });
  await tab.page.focus("#grid");
  await tab.page.keyboard.press("Control+a");
  await tab.has("#bulk-text", "1 selected");
  await tab.page.click("#bulk-retry");
  await tab.has("#empty", "Nothing matches");
  await until("no failure", async () => (await nas.get("api/files")).counts.failed === 0);
  tab.check();
});

test("a long list loads as one scrolls, holds few rows, and is right on the way back", async ({ shelf, browser }) => {
  const count = 8000;
  const name = (index) => `${String(index).padStart(5, "0")}.cbz`;
  const many = Object.fromEntries(Array.from({ length: count }, (_, index) => [`comics/${name(index)}`, `${index}`]));
  const nas = await shelf({ files: many, config: "[processing]\nautomatic = false" });
  const tab = await (await browser()).open(nas.url);
  await tab.has("#range", "of 8,000 files");
  await tab.page.focus("#grid");
  await until("the last row", async () => {
    await tab.page.keyboard.press("End");
    return (await tab.names()).includes(name(count - 1));
  }, { every: 100, within: 60_000 });
  const rows = await tab.page.locator("#rows .row").count();
  assert.ok(rows < 60, `${rows} rows in the document`);
  assert.equal(await tab.page.getAttribute("#grid", "aria-rowcount"), String(count));
  // What was let go meanwhile changes, and is loaded again as it is now.
  await nas.remove(`comics/${name(2)}`);
  await nas.add({ "comics/00003-a.cbz": "new" });
  await nas.move(`comics/${name(4)}`, "comics/00000-moved.cbz");
  await nas.sync();
  tab.requests.length = 0;
  await tab.page.keyboard.press("Home");
  await until("the first rows", async () => JSON.stringify((await tab.names()).slice(0, 6))
    === JSON.stringify([name(0), "00000-moved.cbz", name(1), name(3), "00003-a.cbz", name(5)].sort()));
  assert.ok(tab.requests.some((url) => url.includes("api/files?")), "the first page was held all the time");
  await tab.page.keyboard.press("End");
  await tab.row(name(count - 1));
  await tab.has("#range", "–8,000 of 8,000 files");
  tab.check();
});

test("a server without a folder says which line to edit", async ({ shelf, browser }) => {
  const nas = await shelf({ folders: [] });
  const tab = await (await browser()).open(nas.url);
  await tab.has("#empty", "/etc/shelfcast/shelfcast.toml");
  await tab.has("#empty", "[[folder]]");
});

test("a folder that goes away is shown on top, with what to do", async ({ shelf, browser }) => {
  const nas = await shelf({ files, folders });
  const tab = await (await browser()).open(nas.url);
  await tab.row("4.cbz");
  await nas.move("photos", "away");
  await tab.has("#alerts", "photos", 30_000);
  await tab.has("#folders", "Offline");
  await tab.row("4.cbz"); // its entries and those of the other folder stay
  await nas.move("away", "photos");
  await until("no alert", async () => (await tab.text("#alerts")) === "", { within: 60_000 });
  tab.check();
});

test("the watcher is paused and resumed by its switch", async ({ shelf, browser }) => {
  const nas = await shelf({ files });
  const chromium = await browser();
  const [tab, other] = [await chromium.open(nas.url), await chromium.open(nas.url)];
  await tab.page.click("#watcher");
  for (const one of [tab, other]) await until("paused", async () => (await one.page.getAttribute("#watcher", "aria-checked")) === "false");
  assert.equal((await nas.get("api/watcher/status")).enabled, false);
  await other.page.click("#watcher");
  await until("resumed", async () => (await tab.page.getAttribute("#watcher", "aria-checked")) === "true");
});
