// The host of a stream: it owns the one connection of this browser and gives what arrives to all
// of its tabs. It lives in a SharedWorker or, where there is none, in the tab that leads.

import { Stream } from "./stream.js";

/** What a tab that joins later must hear: the newest state of everything that has one. */
export class Known {
  constructor() {
    this.last = null;
    this.events = new Map();
  }

  note(event) {
    if (event.type === "reset") {
      this.last = null;
      this.events.clear();
    } else if (event.id) this.last = event.id;
    if (event.type === "watcher_status") this.keep("watcher", event);
    if (event.type === "job_updated") this.keep(`job ${event.data.job_id}`, event);
    // One without an id is about a connection, and not about the library.
    if (event.type === "error" && event.id) this.keep(`error ${event.data.code} ${event.data.folder}`, event);
    // Jobs and errors pile up over days; the oldest go first.
    if (this.events.size > 100) this.events.delete(this.events.keys().next().value);
  }

  /** Keeps the newest, in the order of their ids. */
  keep(key, event) {
    this.events.delete(key);
    this.events.set(key, event);
  }
}

export class Host {
  /** `send` gives a message to all tabs; `known` is what its tab has heard so far. */
  constructor(base, send, known = new Known()) {
    this.known = known;
    this.state = { kind: "state", state: "connecting", retryAt: null };
    this.stream = new Stream(base, (message) => {
      if (message.kind === "event") this.known.note(message);
      if (message.kind === "state") this.state = message;
      send(message);
    });
    this.stream.start(known.last);
  }

  /** What to answer to a tab that says hello. */
  welcome() {
    return { kind: "welcome", state: this.state, position: this.stream.last, known: [...this.known.events.values()] };
  }

  /** A tab asks for something other than a welcome. */
  hear(message) {
    if (message.kind === "check") this.stream.check();
    if (message.kind === "cursor") this.stream.snapshot = message.id;
  }

  stop() {
    this.stream.stop();
  }
}
