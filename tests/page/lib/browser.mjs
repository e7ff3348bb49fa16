// Chromium, in which nas.test is this machine: a plain http origin that is no secure context, as
// a NAS on a LAN is.

import { chromium } from "playwright-core";
import { until } from "./harness.mjs";

export class Browser {
  async start({ viewport = { width: 1280, height: 800 }, ...options } = {}) {
    this.chromium = await chromium.launch({
      executablePath: process.env.CHROMIUM,
      args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--host-resolver-rules=MAP nas.test 127.0.0.1"],
    });
    this.context = await this.chromium.newContext({ viewport, locale: "en-GB", ...options });
    this.tabs = [];
    return this;
  }

  /** Opens a tab; `init` runs in it before the page's own code. */
  async open(url, { init = null, live = true } = {}) {
    const page = await this.context.newPage();
    const tab = new Tab(page);
    this.tabs.push(tab);
    if (init) await page.addInitScript(init);
    await page.goto(url);
    if (live) await tab.state("live");
    return tab;
  }

  /** The longest task of a page's main thread while `act` runs, in milliseconds of its processor time: what
   *  else the machine does is not in it. */
  async longestTask(act) {
    await this.chromium.startTracing(undefined, { categories: ["toplevel"] });
    await act();
    const { traceEvents: events } = JSON.parse((await this.chromium.stopTracing()).toString());
    const threads = events.filter(({ name, args }) => name === "thread_name" && args.name === "CrRendererMain");
    const main = new Set(threads.map(({ pid, tid }) => `${pid} ${tid}`));
    const tasks = events.filter(({ pid, tid, tdur }) => tdur && main.has(`${pid} ${tid}`));
    if (tasks.length < 10) throw new Error(`the trace has ${tasks.length} tasks`);
    return tasks.reduce((most, { tdur }) => Math.max(most, tdur), 0) / 1000;
  }

  async describe(place) {
    const parts = [];
    for (const [index, tab] of this.tabs.entries()) {
      const picture = `${place}/tab-${index}.png`;
      await tab.page.screenshot({ path: picture, timeout: 5000 }).catch(() => {});
      parts.push(`--- tab ${index} (${picture}):\n${tab.console.slice(-15).join("\n")}`);
    }
    return parts.join("\n");
  }

  async stop() {
    await this.chromium?.close();
  }
}

/** One tab, and what its console said. */
export class Tab {
  constructor(page) {
    this.page = page;
    this.console = [];
    this.errors = [];
    this.requests = [];
    page.on("console", (message) => this.console.push(`${message.type()}: ${message.text()}`));
    page.on("pageerror", (error) => this.errors.push(error.stack));
    page.on("request", (request) => this.requests.push(request.url()));
  }

  /** Waits for a state of the connection. */
  state(name, within = 15_000) {
    return until(`the state ${name}`, async () => (await this.page.getAttribute("#live", "data-state")) === name, { within });
  }

  /** The names in the visible rows, from top to bottom. */
  names() {
    return this.page.$$eval("#rows .row.entry", (rows) => rows.map((row) => row.querySelector(".name").textContent));
  }

  /** Waits for a row with this name, and returns it. */
  row(name) {
    return until(`a row called ${name}`, async () => {
      for (const row of await this.page.$$("#rows .row")) {
        if ((await row.$eval(".name", (node) => node.textContent)) === name) return row;
      }
      return null;
    });
  }

  gone(name) {
    return until(`no row called ${name}`, async () => !(await this.names()).includes(name));
  }

  /** Makes the pause longer after which what is typed is searched for: what comes meanwhile comes in time. */
  typeSlowly() {
    return this.page.evaluate(() => {
      const { setTimeout } = globalThis;
      globalThis.setTimeout = (act, ms) => setTimeout(act, ms === 120 ? 3000 : ms);
    });
  }

  text(selector) {
    return this.page.textContent(selector);
  }

  /** Waits until an element has this text. */
  has(selector, text, within) {
    return until(`${selector} with ${text}`, async () => (await this.text(selector))?.includes(text), { within });
  }

  /** What the page's program threw. */
  check() {
    if (this.errors.length > 0) throw new Error(`the page threw:\n${this.errors.join("\n")}`);
  }
}
