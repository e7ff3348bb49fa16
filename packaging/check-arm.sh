#!/usr/bin/env bash
# Builds the program for arm64 and for ARMv6, and runs the real service of both under qemu-user.
#
#   packaging/check-arm.sh [--built]      --built takes the programs of packaging/build-debs.sh
#
# Installs what it needs, and keeps it in ${SHELFCAST_CACHE:-~/.cache/shelfcast-arm}. What is
# checked of the service is in tests/package/service.py. qemu shows instructions, sizes of numbers
# and system calls as they are on the boxes; it says nothing about their speed.
set -euo pipefail

REPOSITORY=$(cd "$(dirname "$0")/.." && pwd)
cd "$REPOSITORY"
# shellcheck source=packaging/toolchain.sh
. packaging/toolchain.sh

arm64=aarch64-unknown-linux-musl
armhf=arm-unknown-linux-musleabihf

install_packages qemu-user-static python3
if [ "${1:-}" != --built ]; then
    toolchain_set_up
    toolchain_build "$arm64" "$armhf"
    for target in "$arm64" "$armhf"; do
        install -D "$(toolchain_program "$target")" "target/$target/release/shelfcast"
    done
fi

# Both at once: each mostly waits for its one emulated processor.
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
# arm1176 is the processor of the Pi 1 and Zero: an instruction of ARMv7 ends the program there.
tests/package/service.py qemu-arm-static -cpu arm1176 "target/$armhf/release/shelfcast" \
    >"$logs/armhf" 2>&1 &
running=$!
failed=0
tests/package/service.py qemu-aarch64-static "target/$arm64/release/shelfcast" \
    >"$logs/arm64" 2>&1 || failed=1
wait "$running" || failed=1
for name in arm64 armhf; do
    sed "s/^/$name: /" "$logs/$name"
done
exit "$failed"
