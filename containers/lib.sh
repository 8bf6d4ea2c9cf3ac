# Sourced by the scripts beside it: the cache, this machine's package mirrors, and how to say that something cannot run.
# shellcheck shell=bash
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
REPOSITORY=$(dirname "$HERE")
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/latentatlas-containers
export HERE REPOSITORY CACHE

say() { echo "== $*" >&2; }

# skip REASON COMMAND...: the tests are collected and counted as skipped, each with the reason.
skip() {
  say "skipped: $1"
  export LATENTATLAS_SKIP_ENGINE=$1
  shift
  "$@" || exit $?
  exit 0
}

# The first mirror of this machine's own package sources.
debian_mirror() {
  find /etc/apt -path '*/sources.list*' -type f -exec grep -hv '^ *#' {} + |
    grep -oE '[a-z]+://[^ ]+/debian/?( |$)' | tr -d ' ' | sed -n 1p
}

# Whether an engine of our own can be set up: as root, on Debian.
may_install() { [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; }

# install_debian PACKAGE...: those that are missing; false where that is not possible.
install_debian() {
  local missing=()
  for package in "$@"; do
    dpkg-query -W -f='${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return
  may_install || return 1
  say "installing ${missing[*]}"
  # Services must not start by themselves: the scripts here start their own and stop them.
  local guard=/usr/sbin/policy-rc.d made=
  if [ ! -e $guard ]; then
    printf '#!/bin/sh\nexit 101\n' >$guard && chmod +x $guard && made=yes
  fi
  local code=0
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive timeout 900 \
    apt-get install -y -qq --no-install-recommends "${missing[@]}"; } >&2 || code=$?
  [ -z "$made" ] || rm -f $guard
  return "$code"
}

# hash_of FILE...: of their contents, and of what is read from standard input.
hash_of() { cat "$@" - | sha256sum | cut -c 1-16; }

project_version() { sed -n 's/^__version__ = "\(.*\)"/\1/p' "$REPOSITORY/bids_app/__init__.py"; }

# The build of torch for the CPU into wheels/, if this machine's pip finds one; pip's usual one has CUDA, and is large.
fetch_cpu_torch() {
  local wanted
  wanted=$(sed -n 's/^torch==//p' "$REPOSITORY/constraints.txt")+cpu
  compgen -G "$REPOSITORY/wheels/torch-$wanted-*.whl" >/dev/null && return
  python3 -m pip download -q --no-deps --dest "$REPOSITORY/wheels" "torch==$wanted" >&2
}
