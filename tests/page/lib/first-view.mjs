// What the first view took.

/** Runs in the page before its own code: notes when the list is there. */
export function noteUsable() {
  const seen = new MutationObserver(() => {
    if (!document.querySelector("#rows .row.entry")) return;
    seen.disconnect();
    globalThis.usable = performance.now();
    requestAnimationFrame(() => setTimeout(() => (globalThis.painted = performance.now())));
  });
  seen.observe(document, { subtree: true, childList: true });
}

/** Times in ms, and the requests that were made until the list was there; null before that. */
export function firstView(page) {
  return page.evaluate(() => {
    const { usable, painted } = globalThis;
    if (!painted) return null;
    const all = [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")];
    const first = all.filter(({ startTime }) => startTime <= usable);
    return { usable, painted, names: first.map(({ name }) => new URL(name).pathname), bytes: first.reduce((sum, { transferSize }) => sum + transferSize, 0) };
  });
}
