#!/bin/sh
# `ollama pull MODEL`, as far as the stand-in for Ollama has it.
set -eu
[ "$1" = pull ] || { echo "the stand-in for Ollama knows only: ollama pull MODEL" >&2; exit 1; }
exec python3 - "$2" <<'EOF'
import json, sys, urllib.request

body = json.dumps({"model": sys.argv[1]}).encode()
print(urllib.request.urlopen("http://localhost:11434/api/pull", body).read().decode())
EOF
