"""Pruners that need more than scores, and priors, with workers that share a PostgreSQL server; some are lost."""

import contextlib
import os
import signal
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from optuna.trial import FrozenTrial, TrialState
from real_studies import finish, running_trial, start, study, wait_for, write_project
from servers import PostgresServer, postgres_binaries, running_postgres, skip_without

from hrnn_hpo.errors import HRNNError
from hrnn_hpo.study.attributes import PROPOSED_BY, TAKEN_UP, WORKER, epochs_of
from hrnn_hpo.study.record import read_record
from hrnn_hpo.study.run.continuing import best_after
from hrnn_hpo.study.storage.database import open_storage
from hrnn_hpo.study.storage.user_figures import UserFigures
from hrnn_hpo.study.trials import last_attempts

BINARIES = postgres_binaries()
EPOCHS = 6
pytestmark = [pytest.mark.slow, skip_without(BINARIES, "PostgreSQL (initdb, pg_ctl)")]


server = pytest.fixture(scope="module")(running_postgres)


@pytest.fixture
def project(tmp_path: Path, mlruns: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    write_project(tmp_path, n_users=120, epochs=EPOCHS)
    space = (tmp_path / "space.yaml").read_text(encoding="utf-8")
    with_prior = space.replace("default: 16}", "default: 16, prior: {center: 24}}", 1)
    assert with_prior != space
    (tmp_path / "space.yaml").write_text(with_prior, encoding="utf-8")
    return tmp_path


def check_figures(trials: list[FrozenTrial], url: str, name: str) -> None:
    """Check that the server has what every user scored after every epoch of every trial."""
    storage = open_storage(url)
    figures = UserFigures(storage, read_record(study(url)).uid, name, EPOCHS)
    for place, trial in enumerate(trials):
        for epoch, told in epochs_of(trial).items():
            kept = figures.read(place, epoch)
            assert kept is not None, (place, epoch)
            assert float(np.mean(kept)) == pytest.approx(told["metrics"]["ndcg_at_10"], abs=1e-3)
    assert {trial.user_attrs[PROPOSED_BY] for trial in trials[1:]} <= {"prior", "incumbent", "sampler"}


def test_a_killed_worker_leaves_pairs_of_users_whole(server: PostgresServer, project: Path) -> None:
    url = server.url
    tune = start("--n-trials", "5", "--workers", "2", "--pruner", "paired", "--confirm", "0", "--storage", url)
    os.kill(running_trial(tune, 2, url).user_attrs[WORKER]["pid"], signal.SIGKILL)
    result = finish(tune)
    trials = last_attempts(study(url))
    assert result["trials"]["complete"] + result["trials"]["pruned"] == len(trials) == 5
    assert any("retry_history" in trial.system_attrs for trial in trials)
    check_figures(trials, url, "s")


@skip_without(find_spec("ray"), "ray")
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")  # Ray's
def test_the_best_are_finished_though_a_node_is_lost_meanwhile(project: Path) -> None:
    from ray.cluster_utils import Cluster

    assert BINARIES is not None
    server = PostgresServer(BINARIES)
    url = server.url
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
        asked = ("--n-trials", "5", "--pruner", "epochs:2", "--keep", "2", "--confirm", "0", "--storage", url)
        tune = start(*asked, "--launcher", "ray", "--ray-address", cluster.address)

        def going_on() -> Any:
            with contextlib.suppress(HRNNError):
                running = study(url).get_trials(deepcopy=False, states=(TrialState.RUNNING,))
                return any(TAKEN_UP in trial.user_attrs and len(epochs_of(trial)) > 2 for trial in running)
            return False

        wait_for(going_on, tune)
        cluster.remove_node(nodes[0], allow_graceful=False)
        result = finish(tune)
        trials = last_attempts(study(url))
        assert result["trials"]["complete"] + result["trials"]["pruned"] == len(trials) == 5
        assert all(trial.state == TrialState.COMPLETE for trial in best_after(2, trials)[:2])
        n_epochs = {TrialState.COMPLETE: EPOCHS, TrialState.PRUNED: 2}
        assert all(list(epochs_of(trial)) == list(range(1, n_epochs[trial.state] + 1)) for trial in trials)
        check_figures(trials, url, "s")
    finally:
        cluster.shutdown()
        server.remove()
