#!/usr/bin/env python3
"""Prints the notices of everything that is linked into the program.

Each library with its version and licence, then each text once with the libraries it is for.
"""

import json
import pathlib
import subprocess
import sys

ROOT = "shelfcast"


def linked(metadata):
    """Returns the packages that the program is made of, without what only builds or tests it."""
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    root = metadata["resolve"]["root"]
    seen, waiting = set(), [root]
    while waiting:
        here = waiting.pop()
        if here in seen:
            continue
        seen.add(here)
        for dependency in nodes[here]["deps"]:
            if any(kind["kind"] is None for kind in dependency["dep_kinds"]):
                waiting.append(dependency["pkg"])
    # A procedural macro runs in the compiler and is not in the program.
    chosen = [
        packages[one]
        for one in seen - {root}
        if not any("proc-macro" in target["kind"] for target in packages[one]["targets"])
    ]
    return sorted(chosen, key=lambda package: (package["name"], package["version"]))


def texts(package):
    """Returns the licence and notice files that a package brings."""
    folder = pathlib.Path(package["manifest_path"]).parent
    wanted = ("LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE", "UNLICENSE")
    files = [file for file in folder.iterdir() if file.name.upper().startswith(wanted)]
    return [file.read_text(errors="replace").strip() for file in sorted(files) if file.is_file()]


def main():
    command = ["cargo", "metadata", "--format-version", "1", "--locked"]
    command += ["--filter-platform", "x86_64-unknown-linux-musl"]
    metadata = json.loads(subprocess.check_output(command))
    packages = linked(metadata)
    by_text = {}
    print("Shelfcast is linked with these libraries:\n")
    for package in packages:
        name = f"{package['name']} {package['version']}"
        print(f"  {name}: {package['license']}")
        for text in texts(package):
            # Debian has the Apache License on every machine; its text says nothing of authors.
            if "Apache License" in text and "TERMS AND CONDITIONS" in text:
                continue
            by_text.setdefault(text, []).append(name)
    print("\nand with SQLite (public domain), musl (MIT) and the Rust standard library")
    print("(MIT OR Apache-2.0). Apache-2.0: /usr/share/common-licenses/Apache-2.0")
    for text, names in by_text.items():
        print(f"\n{'-' * 79}\n{', '.join(names)}:\n\n{text}")
    return 0 if packages and by_text else 1


if __name__ == "__main__":
    sys.exit(main())
