// The SharedWorker: one stream for all tabs of a browser. It needs no secure context, unlike Web
// Locks and service workers, and so works on http://nas.local.

import { Host } from "./host.js";

const ports = new Set();
const send = (message) => ports.forEach((port) => port.postMessage(message));
const host = new Host(new URL("../", self.location.href), send);

self.onconnect = ({ ports: [port] }) => {
  port.onmessage = ({ data }) => {
    if (data.kind === "hello") {
      ports.add(port);
      port.postMessage(host.welcome());
    } else if (data.kind === "bye") ports.delete(port);
    else host.hear(data);
  };
};
