// A reverse proxy between browser and server that can be bad in the ways proxies are: it holds
// event streams back until they end, answers 502, or serves below a sub-path.

import http from "node:http";

export class Proxy {
  constructor() {
    this.buffering = false;
    this.broken = false;
    this.prefix = "/";
    this.streams = 0; // open event streams
    this.most = 0; // and the most there were at once
    this.seen = []; // paths that were asked for
  }

  async start(target, { prefix = "/" } = {}) {
    this.prefix = prefix;
    this.server = http.createServer((request, response) => this.pass(target, request, response));
    await new Promise((resolve) => this.server.listen(0, "127.0.0.1", resolve));
    this.port = this.server.address().port;
    this.url = `http://nas.test:${this.port}${prefix}`;
    return this;
  }

  pass(target, request, response) {
    if (!request.url.startsWith(this.prefix)) return response.writeHead(404).end();
    const path = `/${request.url.slice(this.prefix.length)}`;
    this.seen.push(path);
    const stream = path.startsWith("/api/events/stream");
    if (this.broken) return response.writeHead(502).end("bad gateway");
    if (stream) this.most = Math.max(this.most, (this.streams += 1));
    const above = http.request({ host: "127.0.0.1", port: target, path, method: request.method, headers: request.headers }, (answer) => {
      // Buffering is decided when the stream opens, as with a real proxy.
      if (stream && this.buffering) answer.resume();
      else {
        response.writeHead(answer.statusCode, answer.rawHeaders);
        answer.pipe(response);
      }
    });
    above.on("error", () => response.destroy());
    request.pipe(above);
    response.on("close", () => {
      if (stream) this.streams -= 1;
      above.destroy();
    });
  }

  /** Cuts all connections, as a restart of the proxy does. */
  cut() {
    this.server.closeAllConnections();
  }

  async describe() {
    return `--- the proxy: ${this.streams} streams; ${this.seen.slice(-20).join(" ")}`;
  }

  async stop() {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }
}
