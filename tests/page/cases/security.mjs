// Names are text, nothing is inline, and the token stays here.

import assert from "node:assert/strict";
import { test, until } from "../lib/harness.mjs";

test("hostile names are text everywhere", async ({ shelf, browser }) => {
  const names = ["<img src=x onerror=owned()>.cbz", "\"onmouseover=\"owned()\".cbz", "'><script>owned()<!--.cbz", "a\nb\r.cbz", "\u202egpj.exe", "{{name}}&amp;.cbz"];
  const nas = await shelf({ files: Object.fromEntries(names.map((name, index) => [`comics/<b>bold<!-- ${index}/${name}`, `content ${index}`])) });
  const tab = await (await browser()).open(nas.url, { init: () => (globalThis.owned = () => (globalThis.wasOwned = true)) });
  await until("all rows", async () => (await tab.page.locator("#rows .row").count()) === names.length);
  // What cannot be seen is shown by a sign.
  const shown = { "a\nb\r.cbz": "a\u240ab\u240d.cbz", "\u202egpj.exe": "\ufffdgpj.exe" };
  assert.deepEqual([...(await tab.names())].sort(), names.map((name) => shown[name] ?? name).sort());
  await nas.add({ "comics/<img src=y onerror=owned()>": "new" });
  const row = await tab.row("<img src=y onerror=owned()>");
  await until("the feed", async () => (await tab.text("#feed")).includes("<img src=y"));
  await row.hover();
  await row.click();
  await tab.has("#details", "<img src=y");
  await tab.page.keyboard.press("Escape");
  const made = await tab.page.evaluate(() => ({ images: document.images.length, scripts: document.scripts.length, bold: document.querySelectorAll("b").length, owned: globalThis.wasOwned === true }));
  assert.deepEqual(made, { images: 0, scripts: 1, bold: 0, owned: false });
  tab.check();
});

test("the page obeys its own policy", async ({ shelf, browser }) => {
  const nas = await shelf({ files: { "comics/a.cbz": "a" } });
  const tab = await (await browser()).open(nas.url, {
    init: () => document.addEventListener("securitypolicyviolation", (event) => console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`)),
  });
  await (await tab.row("a.cbz")).click();
  await tab.has("#details", "comics");
  await tab.page.waitForTimeout(500);
  assert.deepEqual(tab.console.filter((line) => line.startsWith("error") || line.includes("policy")), []);
});

test("a token is asked for when it is needed, sent as a header, and kept", async ({ shelf, browser }) => {
  const nas = await shelf({ files: { "comics/a.cbz": "a" }, token: "open-sesame" });
  const tab = await (await browser()).open(nas.url);
  await tab.row("a.cbz"); // looking is free
  await tab.page.click("#watcher");
  await tab.page.fill("#token", "wrong");
  await tab.page.keyboard.press("Enter");
  await tab.has("#ask", "did not take this token");
  await tab.page.fill("#token", "open-sesame");
  await tab.page.keyboard.press("Enter");
  await until("paused", async () => (await tab.page.getAttribute("#watcher", "aria-checked")) === "false");
  await tab.page.reload();
  await tab.state("live");
  await until("known as paused", async () => (await tab.page.getAttribute("#watcher", "aria-checked")) === "false");
  await tab.page.click("#watcher");
  await until("resumed without asking", async () => (await tab.page.getAttribute("#watcher", "aria-checked")) === "true");
  assert.ok(tab.requests.every((url) => !url.includes("sesame")));
  assert.equal((await tab.page.context().cookies()).length, 0);
});
