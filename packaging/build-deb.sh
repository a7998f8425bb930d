#!/usr/bin/env bash
# Builds the Debian package; prints its path. Needs cargo-deb (`cargo install cargo-deb --locked`).
#
#   packaging/build-deb.sh                     optimised, from target/release
#   packaging/build-deb.sh --programs DIR      with astromeshd and astromeshctl as they are in DIR
#   packaging/build-deb.sh --revision N        the part of the version after the dash; 1 without
#   packaging/build-deb.sh --output DIR        where it goes; target/debian without
#   packaging/build-deb.sh --fast              compressed quickly rather than well
set -euo pipefail
programs='' revision=1 output='' fast=()
while [ $# -gt 0 ]; do
    case "$1" in
    --programs) programs=$(realpath "$2") ;;
    --revision) revision=$2 ;;
    --output) output=$(realpath "$2") ;;
    --fast) fast=(--fast); shift; continue ;;
    *) echo "build-deb.sh: unknown argument $1" >&2; exit 2 ;;
    esac
    shift 2
done
cd "$(dirname "$0")/.."
output=${output:-$PWD/target/debian}

if ! command -v cargo-deb >/dev/null; then
    echo "build-deb.sh: cargo-deb is missing; install it with: cargo install cargo-deb --locked" >&2
    exit 1
fi
if [ -z "$programs" ]; then
    cargo build --release --locked --bins >&2
    programs=target/release
fi
DEB_REVISION=$revision packaging/stage.sh "$programs" >&2
mkdir -p "$output"
# The programs are built and staged: cargo-deb only packs.
CARGO_TARGET_DIR=target/package cargo deb --no-build --no-strip --quiet "${fast[@]}" \
    --deb-revision "$revision" --output "$output/"
