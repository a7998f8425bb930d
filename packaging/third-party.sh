#!/usr/bin/env bash
# Prints name, version, licence and licence texts of every library that the programs contain. A text
# that came before is named, not repeated.
set -euo pipefail
cd "$(dirname "$0")/.."
declare -A printed=()

cargo tree --locked --package astromesh --edges normal --prefix none --format '{p}|{l}' |
    sed -n 's/^\([^ ]*\) v\([^| ]*\)[^|]*|/\1 \2 /p' | grep -v '^astromesh' | sort -u |
    while read -r name version licence; do
        printf '=== %s %s: %s\n' "$name" "$version" "$licence"
        for text in "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*/"$name-$version"/*; do
            file=${text##*/}
            case "${file,,}" in
            license* | licence* | copying* | notice*) [ -f "$text" ] || continue ;;
            *) continue ;;
            esac
            sum=$(sha256sum < "$text")
            if [ -n "${printed[$sum]:-}" ]; then
                printf -- '--- %s: as %s\n' "$file" "${printed[$sum]}"
            else
                printed[$sum]="$file of $name $version"
                printf -- '--- %s\n\n' "$file"
                cat "$text"
                printf '\n'
            fi
        done
        printf '\n'
    done
