#!/usr/bin/env python3
"""Runs the service, also one for another processor, and checks what its users rely on.

    tests/package/service.py PROGRAM...        PROGRAM may begin with an emulator

A library with a small file, one dated 2040 and a sparse one of 5 GiB; the list, the live events,
processing, and a restart that keeps everything. Whatever waits has a deadline.
"""

import http.client
import json
import os
import pathlib
import queue
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time

IN_2040 = 2_222_164_800  # 2040-06-01 12:00 UTC, beyond what 32 bits can count
FIVE_GIB = 5 * 1024**3
PATIENCE_S = 240  # an emulated processor is slow; one that hangs is slower


class Failed(Exception):
    """What was expected, and what was found instead."""


class Service:
    """The running program, its address, and everything that it wrote."""

    def __init__(self, command, state, config):
        # A process group of its own, so that an emulator does not outlive a failed check.
        self.process = subprocess.Popen(
            [*command, "--config", config, "--state", state, "--listen", "127.0.0.1:0"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace", start_new_session=True,
        )
        self.log, self.port = [], None
        self.started = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()
        if not self.started.wait(PATIENCE_S) or self.port is None:
            raise Failed(f"no line `open http://…:PORT/`: {''.join(self.log)}")

    def _read(self):
        for line in self.process.stdout:
            self.log.append(line)
            found = re.search(r"open http://\S*?:(\d+)/", line)
            if found:
                self.port = int(found.group(1))
                self.started.set()
        self.started.set()

    def get(self, path):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            body = response.read()
        except OSError as error:
            ended = self.process.poll()
            raise Failed(f"GET {path}: {error} (ended with {ended})") from error
        finally:
            connection.close()
        if response.status != 200:
            raise Failed(f"GET {path}: {response.status} {body[:300]!r}")
        return json.loads(body)

    def entries(self):
        return {entry["name"]: entry for entry in self.get("/api/files?limit=1000")["files"]}

    def stream(self, after):
        """Opens the event stream; returns a queue of its messages."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        connection.request("GET", f"/api/events/stream?last_event_id={after}")
        response = connection.getresponse()
        kind = response.getheader("Content-Type")
        if response.status != 200 or not kind.startswith("text/event-stream"):
            raise Failed(f"the stream: {response.status} {kind}")
        messages = queue.Queue()

        def read():
            try:
                for line in response:
                    # A heartbeat has no type.
                    if line.startswith(b"data: ") and (
                            message := json.loads(line[6:])).get("type"):
                        messages.put(message)
            except (OSError, http.client.HTTPException):
                pass  # the service was stopped

        threading.Thread(target=read, daemon=True).start()
        return messages

    def stop(self):
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(PATIENCE_S)
        return status, time.monotonic() - began

    def kill(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def eventually(what, condition):
    deadline = time.monotonic() + PATIENCE_S
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            raise Failed(f"{what}: not within {PATIENCE_S} s")
        time.sleep(0.2)


def expect(what, found, wanted):
    if found != wanted:
        raise Failed(f"{what}: {found!r} in place of {wanted!r}")
    print(f"ok: {what}")


def expect_event(messages, what, matches):
    deadline = time.monotonic() + PATIENCE_S
    seen = []
    while time.monotonic() < deadline:
        try:
            message = messages.get(timeout=1)
        except queue.Empty:
            continue
        seen.append(message)
        if matches(message["type"], message["data"]):
            print(f"ok: {what}")
            return message["data"]
    raise Failed(f"{what}: not within {PATIENCE_S} s, but {json.dumps(seen)[-2000:]}")


def check(command, directory):
    library, state = directory / "library", directory / "state"
    (library / "volumes").mkdir(parents=True)
    state.mkdir()
    (library / "small.txt").write_text("a small file\n")
    (library / "future.txt").write_text("from 2040\n")
    os.utime(library / "future.txt", (IN_2040, IN_2040))
    with open(library / "volumes" / "big.bin", "wb") as file:
        file.truncate(FIVE_GIB)
    config = directory / "shelfcast.toml"
    config.write_text(f"""
[processing]
workers = 2
[[folder]]
path = "{library}"
[[processor]]
name = "own"
match = ["**/*.txt"]
command = ["{sys.executable}", "-c", "import sys; sys.exit(not open(sys.argv[1]).read())", "{{path}}"]
""")

    def start():
        services.append(Service(command, str(state), str(config)))
        return services[-1]

    services = []
    try:
        service = start()
        entries = eventually("three entries are listed", lambda: (
            lambda found: found if len(found) == 3 else None)(service.entries()))
        expect("a date after 2038", entries["future.txt"]["modified"], IN_2040)
        expect("a size beyond 4 GiB", entries["big.bin"]["size"], FIVE_GIB)

        messages = service.stream(service.get("/api/files?limit=1")["last_event_id"])
        (library / "volumes" / "new.txt").write_text("this just came in\n")
        expect_event(messages, "a new file is told of at once", lambda kind, data: (
            kind == "cache_updated" and any(e["name"] == "new.txt" for e in data["added"])))
        done = expect_event(messages, "and processed, by the owner's step too", lambda kind, data: (
            kind == "file_processed" and data["filename"] == "new.txt"
            and (data["processor"] == "own" or not data["success"])))
        expect("with success", (done["success"], done["error"]), (True, None))

        (library / "volumes").rename(library / "books")
        expect_event(messages, "renaming a directory is told of", lambda kind, data: (
            kind == "cache_updated" and any(
                e["path"] == "library/books/new.txt" for e in data["added"] + data["changed"])))
        big = entries["big.bin"]["id"]
        expect("and keeps the ids", service.entries()["big.bin"]["id"], big)

        eventually("the small files are processed", lambda: all(
            service.entries()[name]["status"] == "processed"
            for name in ("small.txt", "future.txt", "new.txt")))
        before = service.entries()
        status, took_s = service.stop()
        expect("it stops with status", status, 0)
        # 2 s are promised on a box; an emulator on a busy machine gets some more.
        expect(f"and soon, in the middle of a large file ({took_s:.1f} s)", took_s < 5, True)

        service = start()
        entries = eventually("the list is there after a restart", service.entries)
        for name, entry in before.items():
            if name != "big.bin":
                expect(f"{name} is as before the restart", entries[name], entry)
        done = eventually("the file of 5 GiB is processed", lambda: (
            lambda entry: entry if entry["status"] in ("processed", "failed") else None
        )(service.entries()["big.bin"]))
        expect("without an error", (done["status"], done["error"]), ("processed", None))
        expect("its fingerprint is BLAKE3 of all of it", done["fingerprint"], ZEROES)
        expect("it stops with status", service.stop()[0], 0)
    except Failed:
        for service in services:
            print("".join(service.log[-80:]))
        raise
    finally:
        for service in services:
            service.kill()


# b3sum of 5 GiB of zeroes.
ZEROES = "bcf27a182cee2a75728e2617d0ac5d90f902207f5332cf7190b345d96e9fd221"

if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    arguments = [str(pathlib.Path(one).resolve()) if os.sep in one else one for one in sys.argv[1:]]
    with tempfile.TemporaryDirectory() as scratch:
        try:
            check(arguments, pathlib.Path(scratch))
        except Failed as failure:
            sys.exit(f"FAILED: {failure}")
