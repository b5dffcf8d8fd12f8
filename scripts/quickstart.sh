#!/usr/bin/env bash
# From nothing to a tuned recommender: set up .venv, fetch MovieLens 100K, run a study, show who won and where it lies.
# Usage: scripts/quickstart.sh    (about two minutes of set-up, then under six minutes of study on two cores)
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh

hrnn-hpo() { .venv/bin/hrnn-hpo "$@"; }
hrnn-hpo data fetch ml-100k --to data/ml-100k
hrnn-hpo data describe data/ml-100k
hrnn-hpo tune data/ml-100k --space quickstart --study quickstart --n-trials 12 --workers 2 --seed 0 --out results/quickstart
hrnn-hpo recommend results/quickstart/model --user 1 --k 5
hrnn-hpo export quickstart --out results/quickstart/best.yaml
