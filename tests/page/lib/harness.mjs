// Collects tests and runs them. A failure prints what was waited for, the page's console, the
// server's log, and where the screenshot is.

import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Browser } from "./browser.mjs";
import { Shelf } from "./shelf.mjs";

const tests = [];
const LIMIT_MS = 120_000;

/** Adds a test; its name is a sentence. The function gets `{shelf, browser}` makers. */
export function test(name, act) {
  tests.push({ name, act, patient: false });
}

/** Adds a test that waits most of its time (for retries, time-outs), and so runs beside the others. */
export function patientTest(name, act) {
  tests.push({ name, act, patient: true });
}

/** Waits until `probe` gives something truthy, and returns it. */
export async function until(what, probe, { within = 15_000, every = 50 } = {}) {
  const end = Date.now() + within;
  let last;
  for (;;) {
    try {
      last = await probe();
      if (last) return last;
    } catch (error) {
      last = error;
    }
    if (Date.now() > end) throw new Error(`waited ${within} ms for: ${what}; last: ${last instanceof Error ? last.message : JSON.stringify(last)}`);
    await new Promise((resolve) => setTimeout(resolve, every));
  }
}

/** Runs the tests whose name holds one of `parts`, all if there are none. */
export async function run(parts) {
  const chosen = tests.filter(({ name }) => parts.length === 0 || parts.some((part) => name.includes(part)));
  const lanes = [true, false].map((patient) => lane(chosen.filter((one) => one.patient === patient)));
  const failed = (await Promise.all(lanes)).reduce((sum, number) => sum + number, 0);
  console.log(`${chosen.length - failed} passed, ${failed} failed`);
  return failed === 0 && chosen.length > 0;
}

/** Runs tests one after another; returns how many failed. */
async function lane(chosen) {
  let failed = 0;
  for (const { name, act } of chosen) {
    const made = [];
    const keep = (thing) => {
      made.push(thing);
      return thing;
    };
    const tools = {
      shelf: async (options) => keep(new Shelf()).start(options),
      browser: async (options) => keep(new Browser()).start(options),
      keep,
    };
    const began = Date.now();
    let timer;
    try {
      const late = new Promise((_, reject) => {
        timer = setTimeout(() => reject(new Error(`took longer than ${LIMIT_MS} ms`)), LIMIT_MS);
      });
      await Promise.race([act(tools), late]);
      console.log(`ok      ${name} (${Date.now() - began} ms)`);
    } catch (error) {
      failed += 1;
      console.log(`FAILED  ${name}\n${error.stack}`);
      const place = await mkdtemp(join(tmpdir(), "shelfcast-page-"));
      for (const thing of made) console.log(await thing.describe(place).catch(String));
    } finally {
      clearTimeout(timer);
      for (const thing of made.reverse()) await thing.stop().catch((error) => console.log(`cannot stop: ${error.message}`));
    }
  }
  return failed;
}
