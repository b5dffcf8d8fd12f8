"""A study on a Ray cluster of several nodes, one of which is lost while it runs."""

import platform
from importlib.util import find_spec
from pathlib import Path

import pytest
from real_studies import check_whole, finish, running_trial, start, study, wait_for, write_project
from servers import skip_without

from hrnn_hpo.errors import ConfigError
from hrnn_hpo.study.attributes import WORKER, epochs_of
from hrnn_hpo.study.team.ray_team import require_reachable, room_for
from hrnn_hpo.study.team.team import Addresses

EMBEDDED = Addresses(Path("log"), "sqlite:///mlruns/optuna.db", "sqlite:///mlruns/mlflow.db", "cpu")
SERVERS = Addresses(Path("log"), "postgresql+psycopg://host/optuna", "http://host:5000", "cpu")


@pytest.mark.slow
@skip_without(find_spec("ray"), "ray")
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")  # Ray's
def test_all_trials_end_though_a_node_is_lost(tmp_path: Path, mlruns: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ray.cluster_utils import Cluster

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    write_project(tmp_path, epochs=20)  # long enough that neither trial ends before its node is taken away
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        lost, _ = cluster.add_node(num_cpus=1), cluster.add_node(num_cpus=1)
        confirm = ("--confirm", "1", "--confirm-seeds", "2")
        tune = start("--n-trials", "4", *confirm, "--launcher", "ray", "--ray-address", cluster.address)
        running_trial(tune, 1)
        started = study()

        def both_at_work() -> bool:
            running = [trial for trial in started.get_trials(deepcopy=False) if trial.state.name == "RUNNING"]
            return sum(len(epochs_of(trial)) > 0 for trial in running) == 2

        wait_for(both_at_work, tune)
        cluster.remove_node(lost, allow_graceful=False)
        result = finish(tune)
        assert result["trials"]["complete"] == 4
        check_whole(4)
        assert [len(one["scores"]) for one in result["confirmation"]["contenders"]] == [2, 2]
        retried = [trial for trial in started.trials if "retry_history" in trial.system_attrs]
        assert retried, "the lost node's trial went on elsewhere"
        assert len({trial.user_attrs[WORKER]["pid"] for trial in started.trials if WORKER in trial.user_attrs}) >= 2
        assert {trial.user_attrs["configuration"]["n_threads"] for trial in started.trials[:1]} == {1}
    finally:
        cluster.shutdown()


def test_nodes_elsewhere_need_servers() -> None:
    require_reachable(EMBEDDED, [platform.node()])
    require_reachable(SERVERS, [platform.node(), "other"])
    with pytest.raises(ConfigError, match=r"other machines \(other\).*optuna.db.*--storage"):
        require_reachable(EMBEDDED, [platform.node(), "other"])
    mixed = Addresses(Path("log"), SERVERS.storage, EMBEDDED.tracking_uri, "cpu")
    with pytest.raises(ConfigError, match=r"mlflow.db.*--tracking-uri"):
        require_reachable(mixed, ["other"])


@pytest.mark.parametrize(
    ("nodes", "wanted", "room"),
    [
        ([{"CPU": 4.0}, {"CPU": 4.0}], {"CPU": 1, "GPU": 0}, 8),
        ([{"CPU": 3.0}, {"CPU": 3.0}], {"CPU": 2, "GPU": 0}, 2),  # no trial lies on two nodes
        ([{"CPU": 8.0, "GPU": 2.0}, {"CPU": 8.0}], {"CPU": 1, "GPU": 1}, 2),
        ([{"CPU": 8.0, "GPU": 2.0}], {"CPU": 1, "GPU": 0.5}, 4),
        ([{"CPU": 8.0}], {"CPU": 1, "GPU": 1}, 0),
    ],
)
def test_the_cluster_holds_as_many_trials_as_fit_on_its_nodes(
    nodes: list[dict[str, float]], wanted: dict[str, float], room: int
) -> None:
    assert room_for(nodes, wanted) == room
