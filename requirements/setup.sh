#!/bin/sh
# Makes a checkout ready for `make demo` and `make test`: the Debian packages that are missing, then .venv/ with what
# requirements/test.txt locks. Does nothing, quickly, when that is done. Only apt-get touches anything outside .venv/.
set -eu
cd "$(dirname "$0")/.."

say() { printf 'setup: %s\n' "$*"; }
die() { say "$*" >&2; exit 1; }

quietly() { # its output is shown only when it fails
  output=$(mktemp)
  "$@" >"$output" 2>&1 || { cat "$output" >&2; rm -f "$output"; die "this failed: $*"; }
  rm -f "$output"
}

# The system's own Python first: it is the one whose venv apt-get can install.
python=
for candidate in /usr/bin/python3 python3.11; do
  "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue
  python=$candidate
  break
done
[ -n "$python" ] || die "needs Python 3.11 or newer as /usr/bin/python3, or a python3.11 in PATH (Debian 12 has it)"

missing=
"$python" -c 'import ensurepip' 2>/dev/null || missing="$missing $(basename "$python")-venv"
command -v softhsm2-util >/dev/null || missing="$missing softhsm2"
if [ -n "$missing" ]; then
  command -v apt-get >/dev/null || die "install these with your system's package manager, then try again:$missing"
  install="apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends$missing"
  if [ "$(id -u)" = 0 ]; then
    as_root=
  elif sudo -n true 2>/dev/null; then
    as_root='sudo -n'
  else
    die "run this, then try again:  sudo sh -c '$install'"
  fi
  say "installing Debian packages:$missing (about half a minute)"
  quietly $as_root sh -c "$install"
fi

stamp=.venv/.setup-done
key=$(cat requirements/test.txt pyproject.toml | sha256sum)
made="$("$python" -c 'import platform; print("version =", platform.python_version())')
command = $python -m venv $PWD/.venv"
fits() { [ -x .venv/bin/pip ] && [ "$(grep -cxF "$made" .venv/pyvenv.cfg)" = 2 ]; }
if fits && [ "$(cat "$stamp" 2>/dev/null)" = "$key" ]; then exit 0; fi

# One made by another Python, at another place, or only in part, cannot be mended.
if ! fits; then
  say "making .venv (some seconds)"
  rm -rf .venv
  quietly "$python" -m venv "$PWD/.venv"
fi
say "installing $(grep -c '^[a-zA-Z]' requirements/test.txt) locked packages into .venv (about a minute)"
pip() { quietly .venv/bin/python -m pip --quiet --disable-pip-version-check --no-input install --no-deps "$@"; }
pip --require-hashes -r requirements/test.txt
pip --no-build-isolation -e .
printf '%s\n' "$key" >"$stamp"
say "done"
