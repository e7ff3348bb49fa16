# Static musl programs for every target, without Docker and without rustup: sourced, not run.
#
# Debian's newest rustc and the source of its standard library are unpacked into a cache (nothing
# of them is installed), and zig from PyPI is C compiler and linker for all targets. The standard
# library is built from source, once a target. Needs a Debian or one of its children on amd64.
#
#   toolchain_set_up            fetches what is missing
#   toolchain_build TARGET...   builds the release program for each target
#   toolchain_program TARGET    prints the path of the built program
#   toolchain_strip TARGET FILE takes compiler notes out of a program
#
# shellcheck shell=bash

TOOLCHAIN_CACHE=${SHELFCAST_CACHE:-$HOME/.cache/shelfcast-arm}
# Where programs are compiled.
TOOLCHAIN_TARGET=$TOOLCHAIN_CACHE/target

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# Installs Debian packages, and asks the network only where one is missing.
install_packages() {
    local missing=() package
    for package; do
        dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null | grep -q '^ii' ||
            missing+=("$package")
    done
    [ ${#missing[@]} = 0 ] && return
    local options=(-q -y -o DPkg::Lock::Timeout=600 -o Acquire::Retries=3)
    # One source of several being out of reach is no reason to give up: the install decides.
    as_root apt-get "${options[@]}" update >/dev/null || true
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get "${options[@]}" --no-install-recommends install "${missing[@]}" </dev/null >/dev/null
}

toolchain_set_up() {
    command -v apt-get >/dev/null || {
        echo "toolchain: this needs a Debian system (apt-get is missing): use cross and Docker" >&2
        return 1
    }
    mkdir -p "$TOOLCHAIN_CACHE"
    # Two runs at once share the cache; the second waits for the first to fill it.
    (
        flock 9
        install_packages binutils binutils-aarch64-linux-gnu binutils-arm-linux-gnueabihf \
            python3 python3-venv
        toolchain_fetch_rust
        toolchain_fetch_zig
    ) 9>"$TOOLCHAIN_CACHE/lock"
}

toolchain_fetch_rust() {
    local rust=$TOOLCHAIN_CACHE/rust version std llvm package
    version=$(apt-cache madison rust-web-src | awk 'NR == 1 { print $3 }')
    if [ -z "$version" ]; then
        as_root apt-get -q -o DPkg::Lock::Timeout=600 update >/dev/null || true
        version=$(apt-cache madison rust-web-src | awk 'NR == 1 { print $3 }')
    fi
    [ "$(cat "$rust/version" 2>/dev/null)" = "$version" ] && return
    std=$(apt-cache show "rustc-web=$version" "libstd-rust-web-dev=$version" |
        sed -n 's/^Depends:.*\(libstd-rust-web-[0-9][0-9.]*\).*/\1/p' | head -n 1)
    llvm=$(apt-cache show "$std=$version" | grep -o 'libllvm[0-9]*' | head -n 1)
    echo "toolchain: fetching rustc $version"
    rm -rf "$rust" "$TOOLCHAIN_CACHE/debs" "$TOOLCHAIN_TARGET"
    mkdir -p "$rust" "$TOOLCHAIN_CACHE/debs"
    (
        cd "$TOOLCHAIN_CACHE/debs" || exit
        apt-get -qq -o Acquire::Retries=3 download "rustc-web=$version" "libstd-rust-web-dev=$version" \
            "$std=$version" "rust-web-src=$version" "$llvm" 2>/dev/null
    )
    for package in "$TOOLCHAIN_CACHE"/debs/*.deb; do
        dpkg-deb -x "$package" "$rust"
    done
    rm -r "$TOOLCHAIN_CACHE/debs"
    cat >"$rust/rustc" <<EOF
#!/bin/sh
exec env LD_LIBRARY_PATH='$rust/usr/lib/x86_64-linux-gnu' '$rust/usr/bin/rustc' "\$@"
EOF
    chmod +x "$rust/rustc"
    echo "$version" >"$rust/version"
}

toolchain_fetch_zig() {
    local venv=$TOOLCHAIN_CACHE/venv wanted=$REPOSITORY/cross/requirements.txt
    cmp -s "$wanted" "$venv/requirements.txt" && return
    echo "toolchain: fetching zig"
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install -q --disable-pip-version-check --retries 5 -r "$wanted"
    cp "$wanted" "$venv/requirements.txt"
}

toolchain_build() {
    local target arguments=()
    for target; do arguments+=(--target "$target"); done
    # link-self-contained=no: the start files come from zig, Debian's rustc has none for musl.
    # The machine's own paths stay out of the program, so that two machines build the same.
    env PATH="$TOOLCHAIN_CACHE/venv/bin:$PATH" RUSTC="$TOOLCHAIN_CACHE/rust/rustc" \
        RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR="$TOOLCHAIN_TARGET" \
        RUSTFLAGS="-Clink-self-contained=no --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo --remap-path-prefix=$TOOLCHAIN_CACHE=/toolchain" \
        cargo-zigbuild zigbuild --manifest-path "$REPOSITORY/Cargo.toml" --release --locked \
        --bin shelfcast -Zbuild-std=std,panic_unwind "${arguments[@]}"
}

toolchain_program() {
    echo "$TOOLCHAIN_TARGET/$1/release/shelfcast"
}

toolchain_strip() {
    local prefix
    case $1 in
    aarch64-*) prefix=aarch64-linux-gnu- ;;
    arm*) prefix=arm-linux-gnueabihf- ;;
    *) prefix= ;;
    esac
    "${prefix}strip" --strip-unneeded -R .comment -R .note "$2"
}
