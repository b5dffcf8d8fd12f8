"""`tune --launcher ray`: the workers of a study as tasks of a Ray cluster, which places them by CPUs and GPUs.

Ray is imported inside the functions: it is an extra, and starting it takes seconds.
"""

import os
import platform
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from optuna.study import Study

from hrnn_hpo.errors import ConfigError, HRNNError, RunFailedError
from hrnn_hpo.stores import mlruns_folder, sqlite_file
from hrnn_hpo.study.team.team import Addresses


class RayTeam:
    """Ray tasks, each a worker of the study. What the methods promise is written at team.Team.

    A task that is lost with its node is submitted again and waits until the cluster has room for it.
    """

    def __init__(
        self, addresses: Addresses, *, size: int | None, gpus_per_trial: float | None, address: str | None
    ) -> None:
        """Connect to the cluster at `address`, or to the one that Ray finds; without any, start one on this machine.

        `size` None takes as many workers as the cluster has room for. Raises ConfigError where Ray is not installed or
        a store cannot be reached from all nodes, RunFailedError where the cluster does not answer.
        """
        self._ours = _connect(address)
        import ray

        nodes = [node for node in ray.nodes() if node["Alive"]]
        require_reachable(addresses, {node["NodeManagerHostname"] for node in nodes})
        there = [node["Resources"] for node in nodes]
        if gpus_per_trial is None:
            gpus_per_trial = 1 if addresses.device in ("auto", "cuda") and any(one.get("GPU") for one in there) else 0
        n_threads = addresses.n_threads or 1
        self._request = {"CPU": n_threads, "GPU": gpus_per_trial}
        room = room_for(there, self._request)
        if room == 0:
            raise ConfigError(
                f"No node of the Ray cluster has room for a trial, which asks for {n_threads} CPUs (--threads) and "
                f"{gpus_per_trial:g} GPUs (--gpus-per-trial)."
            )
        self._size = size or room
        self._addresses = replace(addresses, data=addresses.data.absolute(), n_threads=n_threads)
        self._members: dict[int, Any] = {}
        self._last_words = ""

    def start(self, study: Study) -> None:
        import ray

        # Not retried by Ray: who replaces the dead is run_workers' decision, for every kind of team.
        task = ray.remote(_work).options(
            num_cpus=self._request["CPU"],
            num_gpus=self._request["GPU"],
            max_retries=0,
            name=f"hrnn-hpo {study.study_name}",
        )
        for seat in range(self._size):
            if seat not in self._members:
                self._members[seat] = task.remote(study.study_name, self._addresses, str(mlruns_folder().parent))

    def running(self) -> bool:
        return bool(self._members)

    def collect(self) -> list[str]:
        import ray
        from ray.exceptions import RayError, TaskCancelledError

        dead = []
        for seat, reference in list(self._members.items()):
            if not ray.wait([reference], timeout=0)[0]:
                continue
            del self._members[seat]
            try:
                failure = ray.get(reference)
            except TaskCancelledError:
                continue
            except RayError as error:  # the task's process or node is gone
                self._last_words = str(error).strip()
                dead.append(type(error).__name__)
                continue
            if failure is not None:
                raise RunFailedError(failure)
        return dead

    def stop(self) -> None:
        import ray

        try:
            for reference in self._members.values():
                ray.cancel(reference)  # an interrupt in the worker, which stops after its epoch
            if self._members:
                ray.wait(list(self._members.values()), num_returns=len(self._members))
        except BaseException:
            for reference in self._members.values():
                ray.cancel(reference, force=True)
            raise
        self._members.clear()

    def last_words(self) -> str:
        return self._last_words

    def close(self) -> None:
        import ray

        if self._ours:
            ray.shutdown()


def require_reachable(addresses: Addresses, hosts: Iterable[str]) -> None:
    """Raise ConfigError where nodes on other hosts would not find the study's storage or its MLflow store."""
    elsewhere = sorted(set(hosts) - {platform.node()})
    for option, address, advice in (
        ("--storage", addresses.storage, "postgresql://…"),
        ("--tracking-uri", addresses.tracking_uri, "the address of an MLflow server"),
    ):
        if elsewhere and sqlite_file(address) is not None:
            raise ConfigError(
                f"The Ray cluster has nodes on other machines ({', '.join(elsewhere[:5])}), which cannot reach the "
                f"SQLite file {sqlite_file(address)}: give {advice} as {option}."
            )


def room_for(nodes: Iterable[Mapping[str, float]], request: Mapping[str, float]) -> int:
    """Return how many trials fit on nodes of these resources at once; a trial lies on one node.

    >>> room_for([{"CPU": 3, "GPU": 1}, {"CPU": 3}], {"CPU": 2, "GPU": 0})
    2
    """
    wanted = {name: amount for name, amount in request.items() if amount}
    return sum(int(min(node.get(name, 0.0) / amount for name, amount in wanted.items())) for node in nodes)


def _connect(address: str | None) -> bool:
    """Connect to a cluster unless this process already is; return whether it was done here."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # of a cluster that is started here
    try:
        import ray
    except ImportError:
        raise ConfigError("--launcher ray needs the package ray: pip install 'hrnn-hpo[ray]'.") from None
    if ray.is_initialized():
        return False
    try:
        ray.init(address=address, log_to_driver=False, logging_level="error")
    except Exception as error:  # whatever a network may raise
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise RunFailedError(
            f"The Ray cluster at {address or 'its default address'} does not answer: {reason}"
        ) from None
    return True


def _work(study: str, addresses: Addresses, home: str) -> str | None:
    """Run trials in a Ray task until the study's budget is used up; return why it failed, None where it did not."""
    from hrnn_hpo.study.team.worker import work

    os.environ["HRNN_HPO_HOME"] = home
    try:
        work(
            addresses.data,
            study,
            device=addresses.device,
            n_threads=addresses.n_threads,
            storage=addresses.storage,
            tracking_uri=addresses.tracking_uri,
        )
    except HRNNError as error:
        return str(error)
    except Exception:
        return traceback.format_exc()
    return None
