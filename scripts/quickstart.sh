#!/usr/bin/env bash
# From nothing to a tuned recommender: set up .venv, fetch MovieLens 100K, run a study, show who won and where it lies.
# Usage: scripts/quickstart.sh    (about two minutes of set-up, then three to five of study on two quiet cores)
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh

hrnn-hpo() { .venv/bin/hrnn-hpo "$@"; }
hrnn-hpo data fetch ml-100k --to data/ml-100k
hrnn-hpo data describe data/ml-100k
hrnn-hpo tune data/ml-100k --space quickstart --study quickstart --n-trials 8 --confirm 1 --workers 2 --seed 0 \
  --out results/quickstart
hrnn-hpo recommend results/quickstart/model --user 1 --k 5
hrnn-hpo export quickstart --out results/quickstart/best.yaml
cat <<'NEXT'

Next, with your own log:  .venv/bin/hrnn-hpo data prepare YOUR.csv --columns USER_ID=…,ITEM_ID=…,TIMESTAMP=… --out data/mine
What this study found:    .venv/bin/hrnn-hpo report quickstart --out report.html
Every run, in MLflow:     .venv/bin/hrnn-hpo ui quickstart --open
NEXT
