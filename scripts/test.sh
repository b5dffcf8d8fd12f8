#!/usr/bin/env bash
# Set up .venv and pass every check: format, lint, types, tests. The same here and in CI.
# Usage: scripts/test.sh [pytest options]    for example: scripts/test.sh tests/model -k scan
# EXTRAS="dashboard …" installs more of pyproject.toml's extras, whose tests then run too.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck disable=SC2086 (several words)
scripts/setup.sh dev ${EXTRAS:-}

export OMP_NUM_THREADS=1 MLFLOW_DISABLE_TELEMETRY=true
.venv/bin/ruff format --check .
.venv/bin/ruff check .
.venv/bin/mypy
.venv/bin/python -m pytest -n "${TEST_WORKERS:-2}" --dist loadfile "$@"
