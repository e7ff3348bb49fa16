// Keeps a snapshot and the stream together, so that no change is missed or applied twice.
//
// Stream and snapshot are asked for at the same time. What arrives before the snapshot is held;
// then the snapshot's id says what is in it already. Ids grow by one with each event: a hole means
// that something was missed, and the snapshot is read again, as after `reset` and `truncated`.

import { parseId } from "./stream.js";

/** The shortest time between two readings, however often one is asked for. */
const PAUSE_MS = 1000;

/** So much of a task goes to what was held; the rest waits for the next. */
const SLICE_MS = 8;

/** Lets the browser do something else; unlike a timer, not slowed down in a hidden tab. */
function pause() {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = resolve;
    port2.postMessage(null);
  });
}

export class Sync {
  /**
   * `read` reads the snapshot and resolves to its `last_event_id`; `deliver` gets an event and
   * whether it is older than the snapshot.
   */
  constructor(read, deliver) {
    this.read = read;
    this.deliver = deliver;
    this.cursor = null;
    this.held = [];
    this.holding = false;
    this.pause = PAUSE_MS;
    this.started = -Infinity;
  }

  /** Takes an event from the stream, or the position of a stream that was joined. */
  arrived(event) {
    if (this.holding || this.cursor === null) this.held.push(event);
    else this.place(event);
  }

  place(event) {
    const id = parseId(event.id);
    if (event.type === "reset") {
      this.stale();
    } else if (id) {
      const same = id.epoch === this.cursor.epoch;
      if (same && id.sequence <= this.cursor.sequence) {
        if (event.type !== "position") this.deliver(event, true);
        return;
      }
      const missed = !same || id.sequence > this.cursor.sequence + (event.type === "position" ? 0 : 1);
      this.cursor = id;
      if (missed) this.stale();
    }
    if (event.type !== "position") this.deliver(event, false);
    if (event.type === "cache_updated" && event.data.truncated) this.stale();
  }

  /** Asks for the snapshot to be read again, once, however many ask. */
  stale() {
    if (this.due) return;
    this.due = setTimeout(() => {
      this.due = null;
      this.now();
    }, Math.max(0, this.started + this.pause - performance.now()));
  }

  /** Reads the snapshot now; resolves when it is there and what was held has been applied. */
  async now() {
    clearTimeout(this.due);
    this.due = null;
    const reading = (this.reading = {});
    const seen = this.cursor;
    this.holding = true;
    this.started = performance.now();
    let id = null;
    try {
      id = parseId(await this.read());
    } catch {
      if (this.reading === reading) this.retry = setTimeout(() => this.now(), 5000);
      return;
    }
    // A newer reading is under way (another directory, another search): it decides.
    if (this.reading !== reading) return;
    clearTimeout(this.retry);
    // A slow machine or a long list is not asked again while it has hardly answered.
    this.pause = Math.max(PAUSE_MS, 4 * (performance.now() - this.started));
    const older = id && seen && id.epoch === seen.epoch && id.sequence < seen.sequence;
    this.cursor = older ? seen : (id ?? seen ?? { epoch: "", sequence: 0 });
    await this.release(reading);
  }

  /** Delivers what was held, in slices: a flood may have brought thousands meanwhile. */
  async release(reading) {
    while (this.held.length > 0) {
      const end = performance.now() + SLICE_MS;
      let placed = 0;
      while (placed < this.held.length && performance.now() < end) {
        this.place(this.held[placed]);
        placed += 1;
      }
      this.held.splice(0, placed);
      if (this.held.length > 0) await pause();
      if (this.reading !== reading) return; // the next reading goes on with the rest
    }
    this.holding = false;
  }
}
