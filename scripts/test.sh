#!/usr/bin/env bash
# Set up .venv and pass every check: format, lint, types, tests. The same here and in CI.
# Usage: scripts/test.sh [pytest options]    for example: scripts/test.sh tests/model -k scan
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh dev

export OMP_NUM_THREADS=1 MLFLOW_DISABLE_TELEMETRY=true
.venv/bin/ruff format --check .
.venv/bin/ruff check .
.venv/bin/mypy
.venv/bin/python -m pytest -n "${TEST_WORKERS:-2}" --dist loadfile "$@"
