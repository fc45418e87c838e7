#!/bin/sh
# Make sure that the environment in $1 has larp_edu and its tools; .venv is created when it is missing.
# Environment: PYTHON creates .venv; TORCH is what pip installs first if there is no PyTorch yet.
set -eu
env=$1
python=${PYTHON:-python3}
torch=${TORCH:-torch==2.13.0}
supported='import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))'

fail() { printf 'error: %s\n' "$1" >&2; exit 1; }
check() {  # $1: an interpreter, $2: what to do if it does not fit
    "$1" -c "$supported" || fail "larp_edu needs Python 3.10 to 3.13, but $1 is $("$1" -V 2>&1). $2"
}

if [ ! -x "$env/bin/python" ]; then
    [ "$env" = .venv ] || fail "the active environment $env has no bin/python; deactivate it"
    command -v "$python" >/dev/null || fail "no $python here; name a Python 3.10 to 3.13: make PYTHON=python3.12"
    check "$python" "Name another: make PYTHON=python3.12"
    echo "Creating .venv"
    "$python" -m venv .venv || "$python" -m venv --clear --without-pip .venv || fail "could not create .venv"
fi
py=$env/bin/python
check "$py" "Remove or deactivate that environment"

# Installed already from this folder with these settings? Then there is nothing to do.
stamp=$env/.larp_edu-installed
now="$PWD $(cat settings.ini setup.py tools/install.sh | cksum)"
[ "$(cat "$stamp" 2>/dev/null)" != "$now" ] || exit 0

"$py" -m pip --version >/dev/null 2>&1 || "$py" -m ensurepip >/dev/null 2>&1 ||
    "$python" -m pip --python "$py" install -q pip ||
    fail "no pip for $env. On Debian or Ubuntu: apt install python3-venv, then remove .venv and try again"
echo "Installing into $env (once; takes minutes)"
"$py" -c 'import torch' 2>/dev/null || "$py" -m pip install $torch
"$py" -m pip install -q -e '.[dev]'
printf '%s\n' "$now" >"$stamp"
