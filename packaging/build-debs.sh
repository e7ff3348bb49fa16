#!/usr/bin/env bash
# Builds the packages and their checksums into target/debs.
#
#   packaging/build-debs.sh [TARGET ...]      default: arm64, armhf and amd64
#
# Built with cross where a Docker engine answers, and otherwise with packaging/toolchain.sh
# (SHELFCAST_BUILDER=cross or =toolchain decides). The same commit gives the same bytes.
set -euo pipefail

REPOSITORY=$(cd "$(dirname "$0")/.." && pwd)
cd "$REPOSITORY"
# shellcheck source=packaging/toolchain.sh
. packaging/toolchain.sh

targets=("$@")
[ $# -gt 0 ] || targets=(aarch64-unknown-linux-musl arm-unknown-linux-musleabihf
    x86_64-unknown-linux-musl)

# The date of the commit, for the dates in the packages.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
SHELFCAST_COMMIT=${SHELFCAST_COMMIT:-$(git rev-parse --short=12 HEAD)}
export SOURCE_DATE_EPOCH SHELFCAST_COMMIT

builder=${SHELFCAST_BUILDER:-}
if [ -z "$builder" ]; then
    builder=toolchain
    if command -v cross >/dev/null && docker info >/dev/null 2>&1; then builder=cross; fi
fi
echo "building with $builder: ${targets[*]}"

# Where the list of what goes into the package (Cargo.toml) expects it.
unset CARGO_TARGET_DIR
if [ "$builder" = cross ]; then
    install_packages binutils binutils-aarch64-linux-gnu binutils-arm-linux-gnueabihf
    for target in "${targets[@]}"; do
        cross build --release --locked --target "$target"
    done
else
    toolchain_set_up
    toolchain_build "${targets[@]}"
    for target in "${targets[@]}"; do
        install -D "$(toolchain_program "$target")" "target/$target/release/shelfcast"
    done
fi

# The exact version: how a package is put together is part of what is checked.
cargo_deb=$TOOLCHAIN_CACHE/cargo-deb
[ -x "$cargo_deb/bin/cargo-deb" ] ||
    cargo install -q --locked --root "$cargo_deb" cargo-deb@3.8.0

packaging/third-party.py >"target/THIRD-PARTY"
rm -rf target/debs
mkdir -p target/debs
for target in "${targets[@]}"; do
    toolchain_strip "$target" "target/$target/release/shelfcast"
    "$cargo_deb/bin/cargo-deb" --no-build --no-strip --locked --target "$target" -o target/debs/
done
(cd target/debs && sha256sum -- *.deb | tee SHA256SUMS)

limit=$((2 * 1024 * 1024))
for package in target/debs/*.deb; do
    size=$(stat -c %s "$package")
    if [ "$size" -gt "$limit" ]; then
        echo "$package: $size bytes, more than $limit" >&2
        exit 1
    fi
done
