#!/usr/bin/env bash
# Make .venv with hrnn-hpo in it, at the versions of constraints.txt; instant when it is up to date.
# Usage: scripts/setup.sh [extra ...]    for example: scripts/setup.sh dev
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-python3}
"$python" - <<'PY' || { echo "hrnn-hpo needs Python 3.11 or newer; say which with PYTHON=/path/to/python3." >&2; exit 2; }
import sys
raise SystemExit(sys.version_info < (3, 11))
PY
extras=$(IFS=,; echo "$*")
wanted=$(cat pyproject.toml constraints.txt; echo "$extras $("$python" --version)")
stamp=.venv/.hrnn-hpo-$(printf '%s' "$wanted" | sha256sum | cut -c1-16)
[ -e "$stamp" ] && exit 0

echo "Setting up .venv (about two minutes and 2 GB) ..." >&2
[ -x .venv/bin/python ] || "$python" -m venv .venv
.venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt "$(grep '^torch==' constraints.txt)"
.venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".${extras:+[$extras]}"
touch "$stamp"
