// Where there is no SharedWorker, the tabs elect a leader that holds the stream for all of them:
// a lease in localStorage says who leads, and a BroadcastChannel carries what arrives. Both work
// without a secure context.
//
// The lease is renewed every 0.4 s and is void after 1.2 s: a leader that crashed is replaced
// within two seconds, one that is closed says bye and is replaced at once. The timers
// of a hidden tab may be slowed down to once a minute; it then loses the lease to a visible one,
// which is right. Nothing is lost on the way: the new leader continues after the last id it heard.

import { Host, Known } from "./host.js";
import { recall, remember } from "./store.js";

const RENEW_MS = 400;
const VOID_MS = 1200;

export class Lease {
  constructor(base, tell) {
    this.base = base;
    this.tell = tell;
    this.me = `${Date.now().toString(36)}-${Math.random().toString(36).slice(2)}`;
    this.known = new Known();
    this.host = null;
    this.welcomed = false;
    this.channel = new BroadcastChannel("shelfcast");
    this.channel.onmessage = ({ data }) => this.heard(data);
    this.timer = setInterval(() => this.turn(), RENEW_MS);
    this.turn();
  }

  send(message) {
    this.channel.postMessage({ ...message, from: this.me });
  }

  leader() {
    try {
      const lease = JSON.parse(recall("leader") ?? "null");
      // A clock that was set back must not keep a lease alive.
      return lease && Math.abs(Date.now() - lease.at) < VOID_MS ? lease.tab : null;
    } catch {
      return null;
    }
  }

  claim() {
    remember("leader", JSON.stringify({ tab: this.me, at: Date.now() }));
  }

  turn() {
    const leader = this.leader();
    if (this.host) {
      if (leader === null || leader === this.me) this.claim();
      else this.abdicate();
    } else if (leader === null) this.stand();
    else if (!this.welcomed) this.send({ kind: "hello" });
  }

  /** Claims the lease, and leads if nobody else wrote over it within a moment. */
  stand() {
    if (this.standing) return;
    this.standing = true;
    this.claim();
    setTimeout(() => {
      this.standing = false;
      if (this.leader() === this.me && !this.host && !this.ended) this.lead();
    }, 40 + Math.random() * 60);
  }

  lead() {
    this.welcomed = true;
    this.host = new Host(this.base, (message) => {
      this.send(message);
      this.tell(message);
    }, this.known);
  }

  abdicate() {
    this.host.stop();
    this.host = null;
    this.welcomed = false;
    this.turn();
  }

  heard(message) {
    if (message.to && message.to !== this.me) return;
    if (message.kind === "hello" || message.kind === "check" || message.kind === "cursor") {
      if (!this.host) return;
      if (message.kind === "hello") this.send({ ...this.host.welcome(), to: message.from });
      else this.host.hear(message);
    } else if (message.kind === "bye") {
      this.welcomed = false;
      setTimeout(() => this.turn(), Math.random() * 100);
    } else if (!this.host) {
      if (message.kind === "event") this.known.note(message);
      if (message.kind === "welcome") {
        this.welcomed = true;
        for (const event of message.known) this.known.note(event);
        this.known.last = message.position;
      }
      this.tell(message);
    }
  }

  /** Passes a wish of this tab to whoever holds the stream. */
  ask(message) {
    if (message.kind === "hello") return;
    if (this.host) this.host.hear(message);
    else this.send(message);
  }

  end() {
    this.ended = true;
    clearInterval(this.timer);
    if (this.host) {
      this.host.stop();
      this.host = null;
      remember("leader", null);
      this.send({ kind: "bye" });
    }
    this.channel.close();
  }
}
