// The connection: restarts, proxies that buffer, polling and back.

import assert from "node:assert/strict";
import { patientTest as test, until } from "../lib/harness.mjs";
import { Proxy } from "../lib/proxy.mjs";

test("a restart of the server is survived, and what came meanwhile is shown", async ({ shelf, browser }) => {
  const nas = await shelf({ files: { "comics/a.cbz": "a" } });
  const tab = await (await browser()).open(nas.url);
  await tab.row("a.cbz");
  await nas.down();
  await until("a state that is not live", async () => (await tab.page.getAttribute("#live", "data-state")) !== "live");
  await until("when it tries again", async () => /^Reconnecting in [1-5] s$/.test(await tab.text("#live-text")));
  assert.ok(tab.console.some((line) => line === "warning: SSE: Connection error, will retry in 5s"), tab.console.join("\n"));
  await nas.add({ "comics/b.cbz": "b" });
  tab.requests.length = 0;
  await nas.up();
  await tab.state("live", 30_000);
  await tab.row("b.cbz");
  assert.ok(tab.requests.filter((url) => url.includes("api/files")).length <= 2, "the list was read again and again");
  assert.ok(await tab.page.isHidden("#update"), "the same version calls for no reload");
  await nas.add({ "comics/c.cbz": "c" });
  await tab.row("c.cbz");
  tab.check();
});

test("the list stays while the server is away, and says that it is offline", async ({ shelf, browser }) => {
  const nas = await shelf({ files: { "comics/a.cbz": "a" } });
  const tab = await (await browser()).open(nas.url);
  await tab.row("a.cbz");
  await nas.down("SIGKILL");
  await tab.state("offline", 40_000);
  assert.deepEqual(await tab.names(), ["a.cbz"]);
  await nas.up();
  await tab.page.click("#live-retry");
  await tab.state("live", 5_000);
});

test("a stream that was refused is made anew", async ({ shelf, browser, keep }) => {
  const nas = await shelf({ files: { "comics/a.cbz": "a" } });
  const proxy = await keep(new Proxy()).start(nas.port);
  const tab = await (await browser()).open(proxy.url);
  proxy.broken = true; // 502 closes an EventSource for good
  proxy.cut();
  await until("a state that is not live", async () => (await tab.page.getAttribute("#live", "data-state")) !== "live");
  await until("a try that was refused", () => proxy.seen.filter((path) => path.startsWith("/api/events/stream")).length > 1, { within: 30_000 });
  await nas.add({ "comics/b.cbz": "b" });
  proxy.broken = false;
  await tab.state("live", 30_000);
  await tab.row("b.cbz");
  tab.check();
});

test("where the stream is held back the page polls, and stops when the stream is back", async ({ shelf, browser, keep }) => {
  const nas = await shelf({ files: { "comics/a.cbz": "a" } });
  const proxy = await keep(new Proxy()).start(nas.port);
  proxy.buffering = true;
  const tab = await (await browser()).open(proxy.url, { live: false });
  await tab.row("a.cbz");
  await tab.state("polling", 30_000);
  await nas.add({ "comics/b.cbz": "b" });
  await tab.row("b.cbz");
  await tab.has("#folders", "comics");
  proxy.buffering = false;
  await tab.state("live", 45_000);
  await nas.add({ "comics/c.cbz": "c" });
  await tab.row("c.cbz");
  const polls = () => proxy.seen.filter((path) => /^\/api\/events(\?|$)/.test(path)).length;
  const before = polls();
  await tab.page.waitForTimeout(7_000); // longer than the time between two polls
  assert.equal(polls(), before, "it went on polling");
  tab.check();
});

test("a page that wakes reads the list again, once", async ({ shelf, browser }) => {
  const nas = await shelf({ files: { "comics/a.cbz": "a" } });
  const tab = await (await browser()).open(nas.url);
  await tab.row("a.cbz");
  await tab.page.waitForTimeout(300);
  tab.requests.length = 0;
  await tab.page.evaluate(() => {
    for (const name of ["pagehide", "pageshow"]) dispatchEvent(new PageTransitionEvent(name, { persisted: true }));
    dispatchEvent(new Event("online"));
    document.dispatchEvent(new Event("visibilitychange"));
  });
  const lists = () => tab.requests.filter((url) => url.includes("api/files?")).length;
  await until("the list", () => lists() === 1);
  await tab.page.waitForTimeout(2500);
  assert.equal(lists(), 1);
  await nas.add({ "comics/b.cbz": "b" });
  await tab.row("b.cbz");
  tab.check();
});

test("a version that is new calls for a reload", async ({ shelf, browser }) => {
  const nas = await shelf();
  const tab = await (await browser()).open(nas.url);
  await tab.page.route(nas.url, async (route) => {
    const document = await (await fetch(`http://127.0.0.1:${nas.port}/`)).text();
    await route.fulfill({ contentType: "text/html", body: document.replace(/main\.[0-9a-f]+\.js/, "main.000000000000.js") });
  });
  await nas.down();
  await nas.up();
  await until("the button", () => tab.page.isVisible("#update"), { within: 30_000 });
  tab.check();
});

test("below a sub-path of a reverse proxy everything works", async ({ shelf, browser, keep }) => {
  const nas = await shelf({ files: { "comics/a.cbz": "a" } });
  const proxy = await keep(new Proxy()).start(nas.port, { prefix: "/apps/shelf/" });
  const tab = await (await browser()).open(proxy.url);
  await tab.row("a.cbz");
  await nas.add({ "comics/b.cbz": "b" });
  const row = await tab.row("b.cbz");
  await row.click();
  await tab.has("#details", "comics");
  tab.check();
});
