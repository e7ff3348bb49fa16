// What this browser remembers. Storage may be off (private windows, policies): then nothing is
// remembered, and everything else works.

const PREFIX = "shelfcast.";

/** Reads what was kept under `key`, or null. */
export function recall(key) {
  try {
    return localStorage.getItem(PREFIX + key);
  } catch {
    return null;
  }
}

/** Keeps `value` under `key`; null forgets it. Returns whether that worked. */
export function remember(key, value) {
  try {
    if (value === null) localStorage.removeItem(PREFIX + key);
    else localStorage.setItem(PREFIX + key, value);
    return true;
  } catch {
    return false;
  }
}
