// A running Shelfcast on temporary folders.

import { spawn } from "node:child_process";
import { mkdir, mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

export class Shelf {
  /**
   * Makes folders from `files` (paths that start with the folder's name; a value is the content)
   * and starts the program on them. `config` is added to its configuration.
   */
  async start({ files = {}, folders = ["comics"], config = "", token = null } = {}) {
    this.token = token;
    this.root = await mkdtemp(join(tmpdir(), "shelfcast-test-"));
    this.folders = folders;
    this.config = config;
    this.log = "";
    for (const folder of folders) await mkdir(join(this.root, folder), { recursive: true });
    await this.add(files);
    await this.up();
    await this.sync();
    return this;
  }

  /** Starts the program, on the port it had before if it ran already. */
  async up() {
    const lines = [
      `listen = ["127.0.0.1:${this.port ?? 0}"]`, 'log_level = "info"', this.config,
      "[access]", 'hosts = ["nas.test"]', this.token ? `token = "${this.token}"` : "",
      ...this.folders.flatMap((name) => ["[[folder]]", `path = ${JSON.stringify(join(this.root, name))}`]),
    ];
    const file = join(this.root, "shelfcast.toml");
    await writeFile(file, lines.join("\n"));
    const args = ["--config", file, "--state", join(this.root, "state")];
    this.process = spawn(process.env.SHELFCAST, args, { stdio: ["ignore", "pipe", "pipe"] });
    this.process.stderr.on("data", (data) => (this.log += data));
    this.exited = new Promise((resolve) => this.process.once("exit", resolve));
    const line = await new Promise((resolve, reject) => {
      let text = "";
      this.process.stdout.on("data", (data) => {
        text += data;
        const found = /open http:\/\/[^\n]*:(\d+)\/\n/.exec(text);
        if (found) resolve(found);
      });
      this.process.once("exit", (code) => reject(new Error(`shelfcast ended with ${code}\n${this.log}`)));
    });
    this.port = Number(line[1]);
    this.url = `http://nas.test:${this.port}/`;
  }

  async down(signal = "SIGTERM") {
    if (!this.process) return;
    this.process.kill(signal);
    await this.exited;
    this.process = null;
  }

  path(name) {
    return join(this.root, name);
  }

  /** Writes files; each is complete when it is there. */
  async add(files) {
    for (const [name, content] of Object.entries(files)) {
      await mkdir(dirname(this.path(name)), { recursive: true });
      await writeFile(this.path(name), content);
    }
  }

  /** Writes `number` small files below `directory`, as fast as the disk takes them. */
  async flood(directory, number) {
    await mkdir(this.path(directory), { recursive: true });
    for (let at = 0; at < number; at += 200) {
      const batch = Array.from({ length: Math.min(200, number - at) }, (_, index) => at + index);
      await Promise.all(batch.map((index) => writeFile(this.path(`${directory}/${String(index).padStart(6, "0")}.cbz`), `content ${index}`)));
    }
  }

  move(from, to) {
    return rename(this.path(from), this.path(to));
  }

  remove(name) {
    return rm(this.path(name), { recursive: true });
  }

  read(name) {
    return readFile(this.path(name), "utf8");
  }

  async get(path) {
    const response = await fetch(`http://127.0.0.1:${this.port}/${path}`);
    return response.json();
  }

  /** Waits until the index and the events have everything that is on the disk. */
  async sync() {
    const { version } = await this.get("api/sync");
    if (version === undefined) throw new Error("the library is not in sync");
  }

  async stats() {
    return this.get("api/events/stats");
  }

  async describe() {
    const list = this.process ? await this.get("api/files?limit=20").catch(String) : "stopped";
    return `--- the list:\n${JSON.stringify(list).slice(0, 3000)}\n--- the log:\n${this.log.slice(-3000)}`;
  }

  async stop() {
    await this.down("SIGKILL");
    if (this.root) await rm(this.root, { recursive: true, force: true });
  }
}
