// How soon the page is usable: from the start of the navigation until the list is in the document, and
// until it is painted. Each first load is in a profile of its own, in a browser that runs already.

import { Browser } from "./lib/browser.mjs";
import { firstView, noteUsable } from "./lib/first-view.mjs";
import { until } from "./lib/harness.mjs";
import { Shelf } from "./lib/shelf.mjs";

const ROUNDS = 10;
const files = Object.fromEntries(Array.from({ length: 2000 }, (_, index) => [`comics/Series ${index % 40}/${index}.cbz`, `${index}`]));
const shelf = await new Shelf().start({ files, folders: ["comics", "photos"] });
const browser = await new Browser().start();
const show = (what, views) => {
  for (const key of ["usable", "painted"]) {
    const times = views.map((view) => Math.round(view[key])).sort((one, other) => one - other);
    console.log(`${what}: ${key} after ${times[times.length >> 1]} ms (${times.join(" ")})`);
  }
};

try {
  const [first, again] = [[], []];
  for (let round = 0; round < ROUNDS; round += 1) {
    const context = await browser.chromium.newContext({ viewport: { width: 1280, height: 800 } });
    const page = await context.newPage();
    await page.addInitScript(noteUsable);
    await page.goto(shelf.url);
    first.push(await until("the list", () => firstView(page)));
    await page.reload();
    again.push(await until("the list again", () => firstView(page)));
    await context.close();
  }
  show("first load", first);
  show("reload", again);
  // The worker and its stream are no requests of the page.
  console.log(`${first[0].names.length + 2} requests, ${first[0].bytes} bytes before the list is there`);
} finally {
  await browser.stop();
  await shelf.stop();
}
