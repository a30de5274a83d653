#!/bin/sh
# Makes the two images that the Dockerfiles start from, out of Debian's own packages (about a minute, as root):
#   kura-base   Debian 12, Python, SoftHSM: what every container runs on
#   kura-build  the same with this machine's certificates and pip settings. Only build stages use it; they hand on
#               nothing but a venv, so that no image that runs says how this machine reaches its package index.
set -eu
say() { printf 'base-image: %s\n' "$*"; }
die() { say "$*" >&2; exit 1; }

[ "$(id -u)" = 0 ] || die "debootstrap needs root: sudo $0"
for tool in debootstrap docker; do command -v $tool >/dev/null || die "apt-get install $tool, then try again"; done
work=$(mktemp -d "${TMPDIR:-/var/tmp}/kura-base.XXXXXX")
trap 'rm -rf "$work"' EXIT

say "a Debian 12 tree"
mirror=$(awk '/^URIs:/{print $2; exit}' /etc/apt/sources.list.d/debian.sources 2>/dev/null || true)
debootstrap --variant=minbase --include=ca-certificates,python3,python3-venv,softhsm2 bookworm "$work/tree" \
  ${mirror:+"$mirror"} >"$work/log" 2>&1 || { tail -5 "$work/log" >&2; die "debootstrap failed"; }
rm -rf "$work/tree/var/cache/apt" "$work/tree/var/lib/apt/lists" "$work/tree/etc/resolv.conf" "$work/tree/etc/hostname"
tar -C "$work/tree" -c . | docker import --change 'ENV PATH=/opt/venv/bin:/usr/sbin:/usr/bin LANG=C.UTF-8' \
  - kura-base >/dev/null

say "this machine's way to its package index"
context=$work/context
for file in /etc/ssl/certs/ca-certificates.crt /etc/pip.conf "${HOME:-/root}/.config/pip/pip.conf"; do
  copy=$context/root/${file#"${HOME:-/root}"/}
  case $file in /etc/*) copy=$context$file ;; esac
  if [ -f "$file" ]; then mkdir -p "${copy%/*}" && cp -L "$file" "$copy"; fi
done
{
  echo 'FROM kura-base'
  echo 'COPY . /'
  env | grep -E '^(PIP_[A-Z_]+|SSL_CERT_FILE|(HTTPS?|NO)_PROXY|(https?|no)_proxy)=' | sed 's/=\(.*\)/="\1"/; s/^/ENV /' || true
} >"$work/Dockerfile"
docker build --quiet --tag kura-build --file "$work/Dockerfile" "$context" >/dev/null
say "kura-base and kura-build are there"
