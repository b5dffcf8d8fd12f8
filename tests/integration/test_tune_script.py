"""The script that launches a study from Python runs as it stands, and the commands know its study afterwards."""

import json
import subprocess
import sys
from pathlib import Path

from hrnn_hpo.data.synthetic import markov, write_csv

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "tune.py"
SPACE = """extends: hrnn
tune:
  learning_rate: {range: [0.001, 0.01]}
fix:
  hidden_dimension: 16
  epochs: 2
"""


def test_a_study_with_a_metric_of_its_own_is_launched_from_python(tmp_path: Path) -> None:
    write_csv(markov(n_users=80, n_items=30, n_events=20), tmp_path / "log")
    (tmp_path / "space.yaml").write_text(SPACE, encoding="utf-8")
    command = [sys.executable, str(SCRIPT), "log", "--space", "space.yaml", "--n-trials", "2"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "results" / "f1" / "best.yaml").is_file()

    told = [str(Path(sys.executable).parent / "hrnn-hpo"), "status", "f1", "--json"]
    status = json.loads(subprocess.run(told, cwd=tmp_path, capture_output=True, text=True, check=True).stdout)
    assert status["objective"] == "f1_at_10"
    assert 0.0 < status["best_value"] <= 1.0
    assert f"f1_at_10 {status['best_value']}" in done.stdout
