#!/usr/bin/env python3
"""Runs the service behind nginx and Caddy, with the configurations that are shipped as examples.

    tests/package/proxies.py PROGRAM

Only ports and paths are changed in them. Through each proxy the page answers by the proxy's name,
and an event arrives at once, although the proxy would like to buffer it.
"""

import http.client
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time

from service import Failed, Service, eventually

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "packaging" / "examples"
NAME = "media.example"
AT_ONCE_S = 2  # a proxy that buffers holds a message back until the next one, or for 15 s


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def replaced(text, pairs):
    for pattern, by in pairs:
        text, count = re.subn(pattern, by, text, flags=re.MULTILINE)
        if not count:
            raise Failed(f"the example has no {pattern}")
    return text


def nginx(port, upstream, directory):
    server = replaced((EXAMPLES / "nginx.conf").read_text(), [
        (r"server 127\.0\.0\.1:5000;", f"server 127.0.0.1:{upstream};"),
        (r"listen 80;", f"listen 127.0.0.1:{port};"),
        (r"^ *listen \[::\]:80;\n", ""),
    ])
    config = directory / "nginx.conf"
    config.write_text(f"""
daemon off;
pid {directory}/nginx.pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    # As many a distribution has it: compression must not hold events back.
    gzip on;
    gzip_types *;
    gzip_proxied any;
{server}
}}
""")
    return [program_of("nginx"), "-p", str(directory), "-c", str(config)]


def caddy(port, upstream, directory):
    config = directory / "Caddyfile"
    config.write_text("{\n\tadmin off\n\tauto_https off\n}\n" + replaced(
        (EXAMPLES / "Caddyfile").read_text(), [
            (r"^http://media\.example", f"http://{NAME}:{port}"),
            (r"127\.0\.0\.1:5000", f"127.0.0.1:{upstream}"),
        ]))
    return [program_of("caddy"), "run", "--adapter", "caddyfile", "--config", str(config)]


def ask(port, path, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", path, headers={"Host": NAME, **headers})
    return connection.getresponse()


def answers(port):
    try:
        return ask(port, "/health").status == 200
    except OSError:
        return False


def check(name, command_of, service, library, directory):
    port = free_port()
    environment = {**os.environ, "HOME": str(directory), "XDG_DATA_HOME": str(directory)}
    with open(directory / "log", "w+", encoding="utf-8") as log:
        proxy = subprocess.Popen(command_of(port, service.port, directory), env=environment,
                                 stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            eventually(f"{name} answers for Shelfcast", lambda: answers(port))
            print(f"ok: {name}: answers by its name")
            after = service.get("/api/files?limit=1")["last_event_id"]
            began = time.monotonic()
            stream = ask(port, f"/api/events/stream?last_event_id={after}",
                         **{"Accept-Encoding": "gzip"})
            if time.monotonic() - began > AT_ONCE_S or stream.getheader("Content-Encoding"):
                raise Failed(f"{name} holds the stream's beginning back: {stream.headers}")
            for count in range(3):
                file = library / f"{name}-{count}.txt"
                began = time.monotonic()
                file.write_text(f"{name} {count}\n")
                while True:
                    line = stream.readline()
                    if line.startswith(b"data: ") and file.name in line.decode():
                        json.loads(line[6:])
                        break
                    if not line or time.monotonic() - began > 30:
                        raise Failed(f"{name}: no event of {file.name}")
                if time.monotonic() - began > AT_ONCE_S:
                    raise Failed(f"{name} held an event back: {time.monotonic() - began:.1f} s")
            print(f"ok: {name}: events arrive at once")
        except (Failed, OSError) as failure:
            log.seek(0)
            raise Failed(f"{name}: {failure}\n{log.read()}") from failure
        finally:
            # Not a polite end: Caddy would wait for the open stream.
            proxy.kill()
            proxy.wait()


def main(program):
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        # nginx gives up root for its workers, and they must reach their directories.
        scratch.chmod(0o755)
        library = scratch / "library"
        library.mkdir()
        config = scratch / "shelfcast.toml"
        config.write_text(f'[access]\nhosts = ["{NAME}"]\n[[folder]]\npath = "{library}"\n')
        service = Service([program], str(scratch / "state"), str(config))
        try:
            for name, command_of in (("nginx", nginx), ("caddy", caddy)):
                directory = scratch / name
                directory.mkdir()
                check(name, command_of, service, library, directory)
        finally:
            service.kill()


def program_of(tool):
    """Returns the proxy's program; where it is missing, from its Debian package.

    The package is only unpacked: to install it would start a service on this machine.
    """
    found = shutil.which(tool)
    if found:
        return found
    home = pathlib.Path(os.environ.get("SHELFCAST_CACHE",
                                       pathlib.Path.home() / ".cache" / "shelfcast-arm"))
    unpacked = home / tool
    programs = [unpacked / "usr/sbin" / tool, unpacked / "usr/bin" / tool]
    if not any(one.exists() for one in programs):
        with tempfile.TemporaryDirectory() as scratch:
            subprocess.run(["apt-get", "-qq", "download", tool], cwd=scratch, check=True,
                           stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            for package in pathlib.Path(scratch).glob("*.deb"):
                subprocess.run(["dpkg-deb", "-x", package, unpacked], check=True)
    return str(next(one for one in programs if one.exists()))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    try:
        main(str(pathlib.Path(sys.argv[1]).resolve()))
    except Failed as failure:
        sys.exit(f"FAILED: {failure}")
