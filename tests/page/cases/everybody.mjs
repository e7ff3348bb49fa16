// For everybody: keyboard, screen reader, phone, dark, reduced motion.

import assert from "node:assert/strict";
import { violations } from "../lib/axe.mjs";
import { test, until } from "../lib/harness.mjs";

const files = { "comics/Batman/1.cbz": "one", "comics/Batman/2.cbz": "two", "comics/3.cbz": "one" };
const sizes = { phone: { width: 390, height: 844 }, desk: { width: 1280, height: 800 }, wall: { width: 1920, height: 1080 } };

for (const colorScheme of ["light", "dark"]) {
  for (const [name, viewport] of Object.entries(sizes)) {
    test(`axe finds nothing, ${colorScheme}, ${name}`, async ({ shelf, browser }) => {
      const nas = await shelf({ files });
      const tab = await (await browser({ viewport, colorScheme, reducedMotion: "reduce" })).open(nas.url);
      const row = await tab.row("3.cbz");
      await until("processed", async () => (await nas.get("api/files")).counts.processed === 3);
      assert.deepEqual(await violations(tab), []);
      if (name === "phone") {
        for (const view of ["now", "health", "library"]) {
          await tab.page.click(`.views [data-view=${view}]`);
          await tab.page.waitForTimeout(100);
          assert.deepEqual(await violations(tab), [], view);
        }
      }
      await row.evaluate((node) => node.querySelector(".c-check").click());
      assert.deepEqual(await violations(tab), [], "with a selection");
      await row.click();
      await tab.has("#details", "History");
      assert.deepEqual(await violations(tab), [], "with details");
      await tab.page.keyboard.press("Escape");
      await tab.page.click("#place-menu");
      assert.deepEqual(await violations(tab), [], "with actions");
    });
  }
}

test("everything is done by keyboard alone", async ({ shelf, browser }) => {
  const nas = await shelf({ files, folders: ["comics", "photos"] });
  const { page, ...tab } = Object.assign(await (await browser()).open(nas.url));
  const has = (selector, text) => until(`${selector} with ${text}`, async () => (await page.textContent(selector)).includes(text));
  await until("processed", async () => (await nas.get("api/files")).counts.processed === 3);
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.className), "skip");
  await page.keyboard.press("l");
  await page.keyboard.press("Home");
  await page.keyboard.press("Enter"); // into comics
  await has("#crumbs", "comics");
  // The list of all folders has this file too, and stays until the new one is there.
  await until("two rows", async () => (await page.locator("#rows .row").count()) === 2);
  await has("#rows", "3.cbz");
  await page.keyboard.press("End");
  await page.keyboard.press("Space");
  await has("#bulk-text", "1 selected");
  await page.keyboard.press("v");
  await has("#jobs", "completed");
  await page.keyboard.press("Enter");
  await has("#details-title", "3.cbz");
  await page.keyboard.press("Escape");
  assert.equal(await page.evaluate(() => document.activeElement.id), "grid", "the focus comes back");
  await page.keyboard.press("Backspace");
  await until("at the top", async () => !(await page.textContent("#crumbs")).includes("comics"));
  await page.keyboard.press("/");
  await page.keyboard.type("batman");
  await until("two rows", async () => (await page.locator("#rows .row").count()) === 2);
  await page.keyboard.press("Escape");
  await page.keyboard.press("Escape");
  await page.keyboard.press("?");
  await has("#ask", "Keyboard");
  await page.keyboard.press("Escape");
  assert.deepEqual(tab.errors, []);
});

test("the active row is named to a screen reader and stays on its file", async ({ shelf, browser }) => {
  const nas = await shelf({ files });
  const tab = await (await browser()).open(nas.url);
  await tab.row("3.cbz");
  await tab.page.focus("#grid");
  await tab.page.keyboard.press("End");
  const active = () => tab.page.evaluate(() => {
    const row = document.getElementById(document.getElementById("grid").getAttribute("aria-activedescendant"));
    return row.querySelector(".name").textContent;
  });
  const before = await active();
  await nas.add({ "comics/0.cbz": "zero" });
  await tab.row("0.cbz");
  assert.equal(await active(), before);
});

test("a phone shows everything, without scrolling sideways, with targets for fingers", async ({ shelf, browser }) => {
  const nas = await shelf({ files });
  const tab = await (await browser({ viewport: { width: 320, height: 640 }, hasTouch: true, isMobile: true })).open(nas.url);
  await tab.row("3.cbz");
  for (const view of ["library", "now", "health"]) {
    await tab.page.tap(`.views [data-view=${view}]`);
    await until(`the part ${view}`, () => tab.page.isVisible(`#${view}`));
    const wide = await tab.page.evaluate(() => document.scrollingElement.scrollWidth - innerWidth);
    assert.ok(wide <= 0, `${view} is ${wide} px too wide`);
    const small = await tab.page.$$eval("button:not(.link), select, a[href]", (nodes) => nodes
      .map((node) => [node.id || node.textContent, node.getBoundingClientRect()])
      .filter(([, box]) => box.width > 0 && box.top >= 0 && (box.height < 24 || box.width < 24)).map(([name]) => name));
    assert.deepEqual(small, []);
  }
});

test("light and dark follow the system, and the choice is remembered", async ({ shelf, browser }) => {
  const nas = await shelf({ files });
  const tab = await (await browser({ colorScheme: "dark" })).open(nas.url);
  const paper = () => tab.page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
  const dark = await paper();
  await tab.page.click("#theme");
  const light = await paper();
  assert.notEqual(light, dark);
  await tab.page.reload();
  assert.equal(await paper(), light);
  await tab.page.click("#theme");
  assert.equal(await paper(), dark);
});

test("numbers and times are written as the browser's language has it", async ({ shelf, browser }) => {
  const nas = await shelf({ files: { ...files, "comics/large.cbz": "x".repeat(1_234_567) } });
  const tab = await (await browser({ locale: "de-DE" })).open(nas.url);
  const row = await tab.row("large.cbz");
  await until("1,2 MB, now", async () => /1,2\s?MB.*jetzt/.test(await row.textContent()));
});

test("nothing moves where motion is not wanted", async ({ shelf, browser }) => {
  const nas = await shelf({ files });
  const tab = await (await browser({ reducedMotion: "reduce" })).open(nas.url);
  await nas.add({ "comics/new.cbz": "new" });
  await tab.row("new.cbz");
  assert.equal(await tab.page.evaluate(() => document.getAnimations().length), 0);
});

test("live regions do not chatter while many files come", async ({ shelf, browser }) => {
  const nas = await shelf({ files });
  const tab = await (await browser()).open(nas.url);
  await tab.page.waitForTimeout(1200);
  await tab.page.evaluate(() => {
    globalThis.said = 0;
    const regions = document.querySelectorAll("[aria-live], [role=status], [role=alert], [role=log]");
    const observer = new MutationObserver((changes) => (globalThis.said += changes.length));
    for (const region of regions) observer.observe(region, { subtree: true, childList: true, characterData: true });
  });
  await nas.flood("comics/many", 300);
  await nas.sync();
  await tab.has("#filters .chip[data-status=all]", "303");
  assert.ok((await tab.page.evaluate(() => globalThis.said)) <= 2);
});
