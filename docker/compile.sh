#!/bin/sh
# Lays out below a directory what the image takes from the build: both binaries, without symbols, from
# dist/ if they are there, else compiled here, and the CA certificates. Run by the Dockerfile.
set -eu

out=$1
certificates=/etc/ssl/certs/ca-certificates.crt
mkdir -p "$out/usr/bin" "$out$(dirname "$certificates")"
cp "$certificates" "$out$certificates"
if [ -x dist/astromeshd ] && [ -x dist/astromeshctl ]; then
    cp dist/astromeshd dist/astromeshctl "$out/usr/bin"
else
    cargo build --release --locked --bin astromeshd --bin astromeshctl
    strip -o "$out/usr/bin/astromeshd" target/release/astromeshd
    strip -o "$out/usr/bin/astromeshctl" target/release/astromeshctl
fi
