#!/bin/sh
# Locks what each part installs, by version and hash, into requirements/*.txt. Run it after editing pyproject.toml.
# Hashes, not addresses: the files name no index, so they install from whichever one pip is configured with.
set -eu
cd "$(dirname "$0")/.."
tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
python3 -m venv "$tools/venv"
"$tools/venv/bin/pip" -q install pip-tools
for part in signer server dev test; do
  echo "locking $part"
  "$tools/venv/bin/pip-compile" -q --strip-extras --generate-hashes --no-header --no-annotate \
    --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --unsafe-package kura \
    --extra "$part" -o "$tools/$part.txt" pyproject.toml
  grep -v '^#' "$tools/$part.txt" >"requirements/$part.txt"
done
