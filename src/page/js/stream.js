// The event stream: one EventSource, watched, with polling where it does not get through.
//
// It runs in a worker or in a page and knows neither: it tells what arrives and how it stands to
// one function. The browser reconnects by itself while an EventSource is CONNECTING, and is left
// alone; one that is CLOSED (any status but 200) is dead for ever and is made anew here, with the
// last id in the query, since a new EventSource cannot set the header.

/** Heartbeats come every 15 s; two and a half missed ones mean that nobody is there. */
const DEAD_MS = 40_000;
/** An answer that takes longer to begin is held up somewhere; the server sends its head at once. */
const HEAD_MS = 10_000;
/** A stream that opened but has not brought a single heartbeat is being buffered on its way. */
const SILENT_MS = 20_000;
/** How long reconnecting may take before asking by polling instead. */
const PATIENCE_MS = 6_000;
const POLL_MS = 5_000;
/** While polling, how often a stream is tried anew. */
const RETRY_STREAM_MS = 20_000;
const FIRST_RETRY_MS = 5_000;
const LONGEST_RETRY_MS = 60_000;
/** Unreachable for this long is called offline. */
const OFFLINE_MS = 15_000;

/** Splits an event id into the server's life and the number within it. */
export function parseId(id) {
  const dash = id ? id.lastIndexOf("-") : -1;
  return dash > 0 ? { epoch: id.slice(0, dash), sequence: Number(id.slice(dash + 1)) } : null;
}

/** Whether `id` is no newer than `than`, both of the same life of the server. */
function isOld(id, than) {
  const [one, other] = [parseId(id), parseId(than)];
  return one !== null && other !== null && one.epoch === other.epoch && one.sequence <= other.sequence;
}

export class Stream {
  /** `tell` gets `{kind: "event" | "state" | "trouble", …}`; `base` is the page's address. */
  constructor(base, tell) {
    this.base = base;
    this.tell = tell;
    this.source = null;
    this.last = null; // id of the newest event
    this.snapshot = null; // of a snapshot, to poll from before there is an event
    this.live = false;
    this.suspicious = false; // a stream opened and stayed silent: trust messages only
    this.heard = 0; // when anything arrived
    this.began = 0; // when this EventSource was made
    this.lost = Date.now(); // since when there is no live stream
    this.polled = 0; // when polling last worked
    this.failures = 0;
    this.retryAt = null;
    this.state = "";
  }

  start(last) {
    this.last = last;
    this.ticking = setInterval(() => this.watch(), 1000);
    this.open();
  }

  stop() {
    clearInterval(this.ticking);
    clearTimeout(this.retrying);
    this.source?.close();
    this.source = null;
    this.live = false;
  }

  /** Somebody looks at the page again, or the network is back: make sure that it is alive. */
  check() {
    if (this.live && Date.now() - this.heard < SILENT_MS) return;
    this.failures = 0;
    this.open();
    if (!this.live) this.poll();
  }

  open() {
    clearTimeout(this.retrying);
    this.source?.close();
    const url = new URL("api/events/stream", this.base);
    if (this.last) url.searchParams.set("last_event_id", this.last);
    const source = new EventSource(url);
    this.source = source;
    this.began = Date.now();
    this.opened = false;
    this.retryAt = null;
    const mine = (act) => (event) => this.source === source && act(event);
    source.onopen = mine(() => {
      this.opened = true;
      this.heard = Date.now();
      this.silentSince = Date.now();
      if (!this.suspicious) this.alive();
    });
    source.onmessage = mine((event) => this.message(event));
    source.addEventListener("heartbeat", mine(() => this.sign()));
    source.onerror = mine(() => this.broken(source));
    this.report();
  }

  /** Something came through the stream. */
  sign() {
    this.heard = Date.now();
    this.silentSince = null;
    this.suspicious = false;
    this.alive();
  }

  alive() {
    this.failures = 0;
    this.retryAt = null;
    if (this.live) return;
    this.live = true;
    this.report();
  }

  message({ data, lastEventId }) {
    this.sign();
    let event;
    try {
      event = JSON.parse(data);
    } catch {
      return; // not ours; the next snapshot says what is so
    }
    this.take({ ...event, id: lastEventId || null });
  }

  /** Hands on what is new. Ids only grow, so an older one has been seen by polling. */
  take(event) {
    if (event.type === "reset") this.last = null;
    else if (event.id) {
      if (this.last && isOld(event.id, this.last)) return;
      this.last = event.id;
    }
    this.tell({ kind: "event", ...event });
  }

  broken(source) {
    this.gone();
    const closed = source.readyState === 2;
    let wait = FIRST_RETRY_MS;
    if (closed) {
      // Many pages lose one server at the same moment: let them come back at different ones.
      const step = Math.min(FIRST_RETRY_MS * 2 ** this.failures, LONGEST_RETRY_MS);
      wait = this.failures === 0 ? step + Math.random() * 400 : step * (0.75 + Math.random() / 2);
      this.failures += 1;
      clearTimeout(this.retrying);
      this.retrying = setTimeout(() => this.open(), wait);
    }
    this.retryAt = Date.now() + wait;
    this.tell({ kind: "trouble", seconds: Math.round(wait / 1000) });
    this.report();
  }

  gone() {
    if (this.live) this.lost = Date.now();
    this.live = false;
  }

  /** Once a second: is it dead, is it silent, should we poll? */
  watch() {
    const now = Date.now();
    const open = this.source?.readyState === 1;
    if (open && now - this.heard > DEAD_MS) {
      this.gone();
      this.tell({ kind: "trouble", seconds: 0 });
      this.open();
    } else if (open && this.silentSince && now - this.silentSince > SILENT_MS) {
      this.suspicious = true;
      this.gone();
    }
    const stuck = this.source && !this.live && this.source.readyState !== 2 && !this.retryAt;
    if (stuck && !this.opened && now - this.began > HEAD_MS) this.suspicious = true;
    if (stuck && this.suspicious && now - this.began > RETRY_STREAM_MS) this.open();
    if (!this.live && now - this.lost > PATIENCE_MS && now - (this.asked ?? 0) >= POLL_MS) this.poll();
    this.report();
  }

  async poll() {
    if (this.asking) return;
    this.asking = true;
    this.asked = Date.now();
    try {
      const url = new URL("api/events", this.base);
      const after = this.last ?? this.snapshot;
      if (after) url.searchParams.set("after", after);
      const response = await fetch(url, { signal: AbortSignal.timeout(10_000), cache: "no-store" });
      if (!response.ok) throw new Error(String(response.status));
      const { events, last_event_id: last, reset } = await response.json();
      this.polled = Date.now();
      // A stream that came back meanwhile has brought these already, or will.
      if (!this.live) {
        if (reset) this.take({ type: "reset", data: { reason: "history_gap" } });
        for (const event of events) if (event.type !== "reset") this.take(event);
        this.last = last ?? this.last;
      }
    } catch {
      this.polled = 0;
    } finally {
      this.asking = false;
      this.report();
    }
  }

  report() {
    const now = Date.now();
    let state = "connecting";
    if (this.live) state = "live";
    else if (this.polled && now - this.polled < 3 * POLL_MS) state = "polling";
    else if (navigator.onLine === false || now - this.lost > OFFLINE_MS) state = "offline";
    else if (this.retryAt) state = "waiting";
    const retryAt = state === "waiting" ? this.retryAt : null;
    if (state === this.state && retryAt === this.told) return;
    this.state = state;
    this.told = retryAt;
    this.tell({ kind: "state", state, retryAt });
  }
}
