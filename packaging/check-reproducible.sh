#!/usr/bin/env bash
# Compiles the program of the last commit twice, from nothing, in directories of different names,
# and compares the two byte by byte.
#
#   packaging/check-reproducible.sh [TARGET]      default: x86_64-unknown-linux-musl
#
# Not part of .ci/run, which puts packages together twice but compiles once: this takes as long as
# two builds. With SHELFCAST_OTHER=FILE it compiles once, and compares with a program that was built
# elsewhere with packaging/build-debs.sh, from the same commit.
set -euo pipefail

REPOSITORY=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=packaging/toolchain.sh
. "$REPOSITORY/packaging/toolchain.sh"

target=${1:-x86_64-unknown-linux-musl}
SOURCE_DATE_EPOCH=$(git -C "$REPOSITORY" log -1 --format=%ct)
SHELFCAST_COMMIT=$(git -C "$REPOSITORY" rev-parse --short=12 HEAD)
export SOURCE_DATE_EPOCH SHELFCAST_COMMIT

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
toolchain_set_up

# compile DIRECTORY: prints where the program is.
compile() (
    mkdir -p "$1"
    git -C "$REPOSITORY" archive HEAD | tar -x -C "$1"
    cd "$1"
    REPOSITORY=$1 TOOLCHAIN_TARGET=$1/target
    toolchain_build "$target" >&2
    toolchain_strip "$target" "$(toolchain_program "$target")"
    toolchain_program "$target"
)

first=$(compile "$work/one")
second=${SHELFCAST_OTHER:-}
[ -n "$second" ] || second=$(compile "$work/quite/another")
sha256sum "$first" "$second"
cmp "$first" "$second"
echo "the same"
