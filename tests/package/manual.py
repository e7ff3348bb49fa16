#!/usr/bin/env python3
"""Checks that man pages, completions and the installed configuration tell the truth.

    tests/package/manual.py PROGRAM

The program is the source: its --help names the options, and its complaint about an unknown key
names the keys of that section. Whatever only one side knows is an error, in either direction.
"""

import pathlib
import re
import subprocess
import sys
import tempfile

PACKAGING = pathlib.Path(__file__).resolve().parents[2] / "packaging"
SECTIONS = ["", "[folder]", "processing", "[processor]", "watch", "access", "limits"]

problems = []


def compare(what, told, true):
    if not true:
        problems.append(f"{what}: the program names none, which cannot be")
    for name in sorted(true - told):
        problems.append(f"{what}: {name} is missing")
    for name in sorted(told - true):
        problems.append(f"{what}: {name} does not exist in the program")


def run(program, *arguments):
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=False)


def check(program, text):
    with tempfile.TemporaryDirectory() as directory:
        file = pathlib.Path(directory, "shelfcast.toml")
        file.write_text(text)
        return run(program, "--check-config", "--state", directory, "--config", str(file))


def options_of_the_program(program):
    """Long options with their short one, from the lines of --help that begin with them."""
    line = re.compile(r"^  (?:-(\w), |    )(--[a-z-]+)", re.MULTILINE)
    return {(long, short) for short, long in line.findall(run(program, "--help").stdout)}


def keys_of_the_program(program, section):
    bracketed = f"[{section}]\n" if section else ""
    complaint = check(program, f"{bracketed}not_a_key_at_all = 1\n").stderr
    found = re.search(r"not_a_key_at_all.*\(known here: ([^)]*)\)", complaint)
    return set(found.group(1).split(", ")) if found else set()


def keys_of_the_page(page, section):
    title = f".Ss [{section}]" if section else ".Ss Keys outside of any section"
    part = page.split(title + "\n", 1)[1].split("\n.Ss ", 1)[0] if title + "\n" in page else ""
    return set(re.findall(r"^\.It Cm (\w+) ", part, re.MULTILINE))


def main(program):
    pairs = options_of_the_program(program)
    longs = {long for long, _ in pairs}
    shorts = {f"-{short}" for _, short in pairs if short}

    page = (PACKAGING / "man/shelfcast.1").read_text()
    items = " ".join(re.findall(r"^\.It (Fl .*)$", page, re.MULTILINE))
    compare("shelfcast.1, options", set(re.findall(r"Fl \\-([a-z-]+)", items)),
            {long[2:] for long in longs})
    compare("shelfcast.1, short options", set(re.findall(r"Fl (\w) ", items)),
            {short[1:] for short in shorts})

    bash = (PACKAGING / "completions/shelfcast.bash").read_text()
    words = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", bash.split("'-c ", 1)[1].split("'", 1)[0],
                           re.IGNORECASE)) | {"-c"}
    compare("bash completion", words, longs | shorts)
    zsh = (PACKAGING / "completions/_shelfcast").read_text()
    compare("zsh completion", set(re.findall(r"--[a-z-]+", zsh)), longs)
    fish = (PACKAGING / "completions/shelfcast.fish").read_text()
    compare("fish completion", {f"--{name}" for name in re.findall(r"-l ([a-z-]+)", fish)}, longs)

    manual = (PACKAGING / "man/shelfcast.toml.5").read_text()
    sections = {section.strip("[]") for section in SECTIONS} - {""}
    for section in SECTIONS:
        keys = keys_of_the_program(program, section)
        if not section:
            compare("sections", sections, {key for key in keys if key in sections})
            keys -= sections
        compare(f"shelfcast.toml.5, [{section}]", keys_of_the_page(manual, section), keys)

    # The file as installed is valid, and stays so with every key in it switched on.
    installed = (PACKAGING / "shelfcast.toml").read_text()
    result = check(program, installed)
    if result.returncode != 0:
        problems.append(f"shelfcast.toml as installed is refused: {result.stderr}")
    with tempfile.TemporaryDirectory() as folder:
        everything = re.sub(r"^#(?=\S)", "", installed, flags=re.MULTILINE)
        everything = everything.replace("/srv/media", folder)
        everything = everything.replace("/usr/local/bin/tag-comic", "/bin/true")
        everything = everything.replace("/var/log/shelfcast", tempfile.gettempdir())
        result = check(program, everything)
    if result.returncode != 0:
        problems.append(f"shelfcast.toml with every key switched on is refused: {result.stderr}")
    shown = set(re.findall(r"^#?\s*(\w+) = ", installed, re.MULTILINE)) | \
        set(re.findall(r"^#   (\w+) = ", installed, re.MULTILINE))
    keys = set().union(*(keys_of_the_program(program, section) for section in SECTIONS))
    compare("shelfcast.toml as installed", shown, keys - sections)

    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1]))
