// One stream for all tabs of this browser. HTTP/1.1 allows six connections to a server, shared by
// all tabs: with a stream each, the seventh tab would hang without an error.

import { Host } from "./host.js";
import { Lease } from "./lease.js";
import { recall, remember } from "./store.js";

/** A worker that has not answered by then has failed to start. */
const WORKER_MS = 3000;

class Worker {
  constructor(url, tell, failed) {
    this.worker = new SharedWorker(url, { name: "shelfcast" });
    this.worker.onerror = failed;
    this.waiting = setTimeout(failed, WORKER_MS);
    this.worker.port.onmessage = ({ data }) => {
      clearTimeout(this.waiting);
      tell(data);
    };
    this.ask({ kind: "hello" });
  }

  ask(message) {
    this.worker.port.postMessage(message);
  }

  end() {
    clearTimeout(this.waiting);
    this.ask({ kind: "bye" });
    this.worker.port.onmessage = null;
  }
}

/** For a browser that can share nothing: a stream of its own. */
class Alone {
  constructor(base, tell) {
    this.host = new Host(base, tell);
  }

  ask(message) {
    this.host.hear(message);
  }

  end() {
    this.host.stop();
  }
}

/** Opens the shared stream; `tell` gets welcome, event, state and trouble messages. */
export class Share {
  constructor(base, worker, tell) {
    this.base = base;
    this.worker = worker;
    this.tell = tell;
    this.begin();
    // A page that is kept for going back must let go of the stream, and takes it up on return.
    addEventListener("pagehide", () => this.way?.end());
    addEventListener("pageshow", (event) => {
      if (!event.persisted) return;
      this.begin();
    });
  }

  begin() {
    if (typeof SharedWorker === "function") {
      try {
        const way = new Worker(this.worker, (message) => this.way === way && this.tell(message), () => {
          if (this.way !== way) return;
          way.end();
          this.share();
        });
        this.way = way;
        return;
      } catch {
        // Blocked by a policy: the next way.
      }
    }
    this.share();
  }

  share() {
    const canLead = typeof BroadcastChannel === "function" && remember("probe", "1") && recall("probe") === "1";
    this.way = canLead ? new Lease(this.base, this.tell) : new Alone(this.base, this.tell);
  }

  /** Makes sure that the stream is alive. */
  check() {
    this.way.ask({ kind: "check" });
  }

  /** Tells where a snapshot stands, for a stream that has not heard anything yet. */
  cursor(id) {
    this.way.ask({ kind: "cursor", id });
  }
}
