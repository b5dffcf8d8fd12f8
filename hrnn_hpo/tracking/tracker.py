"""Runs in one MLflow store: begun, told things, found again, ended.

A tracking store that fails never costs a trial: it turns into a warning, and the run is noted for a later sync.
"""

import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from hrnn_hpo.errors import RunFailedError
from hrnn_hpo.stores import tracking_address, without_password
from hrnn_hpo.tracking.models import register
from hrnn_hpo.tracking.search import matching, query
from hrnn_hpo.tracking.source import source_tags
from hrnn_hpo.tracking.store import first_line, open_store, quiet

T = TypeVar("T")
PAUSE_SECONDS = 15.0  # after a failure the store is left alone for so long
NAME_LENGTH = 250  # characters of a run's name that every database takes
TEXT_LENGTH = 7_900  # of a tag's
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Data:
    """The log that a run reads, as MLflow's pages show it."""

    name: str
    digest: str  # a content hash
    source: str  # where it lay
    context: str = "training"


class Tracker:
    """Runs in one MLflow store. Opening it may fail; after that, nothing it is told to write raises.

    `behind` holds the runs that missed something: whoever has the facts writes them again. Writing the same
    metric (name, value, step, timestamp) twice leaves one.
    """

    def __init__(self, uri: str | None = None) -> None:
        self.uri = tracking_address(uri)
        self.behind: set[str] = set()
        self.failure: str | None = None  # what went wrong first
        self._resume_at = 0.0
        try:
            self._client, self._experiment = open_store(self.uri)
        except Exception as error:
            text = f"The tracking store {without_password(self.uri)} cannot be opened: {first_line(error)}"
            if not self.uri.startswith(("sqlite:", "file:")):
                text += "\nStart the server, or leave --tracking-uri out to use the embedded store."
            raise RunFailedError(text) from error

    def start_run(
        self,
        name: str,
        *,
        parent: str | None = None,
        tags: Mapping[str, str],
        params: Mapping[str, Any] | None = None,
        data: Data | None = None,
    ) -> str | None:
        """Create a run, below `parent` where one is given, and return its id; None when the store failed.

        A run that is there and missed its parameters or data is behind, and `complete_run` writes them. The tag
        `git_commit` is told to MLflow's pages as the commit of the source.
        """
        all_tags = {key: _text(value) for key, value in {**source_tags(tags.get("git_commit")), **tags}.items()}
        all_tags |= {"mlflow.parentRunId": parent} if parent else {}

        def create() -> str:
            return str(self._client.create_run(self._experiment, run_name=_name(name), tags=all_tags).info.run_id)

        run_id = self._attempt(None, create)
        self._write(run_id, lambda: self._write_beginning(run_id, params or {}, data))
        return run_id

    def complete_run(self, run_id: str | None, params: Mapping[str, Any], data: Data | None = None) -> None:
        """Write the parameters and the data of a run that was found again, as far as it lacks them.

        Parameters are for good: a run keeps those that it has.
        """

        def complete() -> None:
            run = self._client.get_run(run_id)
            missing = {key: value for key, value in params.items() if key not in run.data.params}
            self._write_beginning(run_id, missing, None if run.inputs.dataset_inputs else data)

        self._write(run_id, complete)

    def _write_beginning(self, run_id: str | None, params: Mapping[str, Any], data: Data | None) -> None:
        from mlflow.entities import Param

        if params:
            self._client.log_batch(run_id, params=[Param(key, _text(value)) for key, value in params.items()])
        if data is not None:
            self._client.log_inputs(run_id, datasets=[_dataset_input(data)])

    def find_run(self, tags: Mapping[str, str]) -> str | None:
        """Return the id of the newest run that carries all these tags."""

        def search() -> str | None:
            token = None
            while True:
                page = self._client.search_runs([self._experiment], query(tags), max_results=1_000, page_token=token)
                for run in matching(page, tags):
                    return str(run.info.run_id)
                token = page.token
                if not token:
                    return None

        return self._attempt(None, search)

    def log_metrics(self, run_id: str | None, metrics: Mapping[str, float], step: int, timestamp: float) -> None:
        """Write metrics of one step in one batch; `timestamp` is seconds since 1970 and part of their identity."""
        from mlflow.entities import Metric

        moment = int(timestamp * 1000)
        entries = [Metric(name, float(value), moment, step) for name, value in metrics.items()]
        self._write(run_id, lambda: self._client.log_batch(run_id, metrics=entries))

    def set_tags(self, run_id: str | None, tags: Mapping[str, str]) -> None:
        """Set or replace tags of a run."""
        from mlflow.entities import RunTag

        self._write(
            run_id, lambda: self._client.log_batch(run_id, tags=[RunTag(key, _text(tags[key])) for key in tags])
        )

    def log_text(self, run_id: str | None, text: str, file: str) -> None:
        """Write a text as an artifact of a run."""
        self._write(run_id, lambda: self._client.log_text(run_id, text, file))

    def clear_text(self, run_id: str | None, file: str) -> None:
        """Empty a text among the artifacts of a run where there is one: it can be replaced, and not taken away."""

        def clear() -> None:
            if any(found.path == file for found in self._client.list_artifacts(run_id)):
                self._client.log_text(run_id, "", file)

        self._write(run_id, clear)

    def log_file(self, run_id: str | None, path: Path, folder: str | None = None) -> None:
        """Copy a file, or a folder's content, to the artifacts of a run."""
        log = self._client.log_artifacts if path.is_dir() else self._client.log_artifact
        self._write(run_id, lambda: log(run_id, str(path), folder))

    def describe(self, run_id: str | None, markdown: str) -> None:
        """Set the description that MLflow's page of a run begins with; what names are in it is escaped already."""
        self.set_tags(run_id, {"mlflow.note.content": markdown})

    def address(self, run_id: str | None = None) -> str:
        """Return the address of a run's page, or of the table of all runs, relative to MLflow's user interface."""
        return f"#/experiments/{self._experiment}/runs" + (f"/{run_id}" if run_id else "")

    def register_model(
        self, run_id: str | None, name: str, folder: Path, tags: Mapping[str, str], parent: str | None = None
    ) -> None:
        """Register a model folder as the next version of `name`: the output of the run that made it, and of `parent`.

        It is a pyfunc model whose loader is serving/pyfunc_model.py: no pickled code is written. A version with the
        same tags stays as it is, so writing twice leaves one.
        """
        runs = [run for run in (run_id, parent) if run is not None]
        self._write(run_id, lambda: register(self._client, self._experiment, self.uri, runs, name, folder, tags))

    def end_run(self, run_id: str | None, status: str, name: str | None = None) -> None:
        """Close a run as FINISHED, FAILED or KILLED, or open it again as RUNNING or SCHEDULED; `name` renames it."""
        renamed = None if name is None else _name(name)
        if status in ("RUNNING", "SCHEDULED"):
            self._write(run_id, lambda: self._client.update_run(run_id, status=status, name=renamed))
            return
        if renamed is not None:
            self._write(run_id, lambda: self._client.update_run(run_id, name=renamed))
        self._write(run_id, lambda: self._client.set_terminated(run_id, status))

    def delete_run(self, run_id: str | None) -> None:
        """Mark a run deleted, as MLflow's own UI does."""
        self._write(run_id, lambda: self._client.delete_run(run_id))

    def child_runs(self, parent: str) -> list[str]:
        """Return the ids of the runs below a run."""
        return [run.info.run_id for run in self._children(parent) or []]

    def closed_children(self, parent: str, tag: str) -> dict[str, str] | None:
        """Return the ended runs below a run, {value of a tag: the tag `state`}; None when the store failed."""
        found = self._children(parent)
        if found is None:
            return None
        ended = [run.data.tags for run in found if tag in run.data.tags and run.info.status != "RUNNING"]
        return {tags[tag]: tags.get("state", "") for tags in ended}

    def _children(self, parent: str) -> list[Any] | None:
        below = query({"mlflow.parentRunId": parent})
        return self._attempt(
            None, lambda: list(self._client.search_runs([self._experiment], below, max_results=50_000))
        )

    def _write(self, run_id: str | None, call: Callable[[], Any]) -> None:
        if run_id is not None:
            self._attempt(run_id, call)

    def _attempt(self, run_id: str | None, call: Callable[[], T]) -> T | None:
        """Return what the call returns; None when it fails or the store is being left alone after a failure."""
        if time.monotonic() >= self._resume_at:
            try:
                with quiet():
                    return call()
            except Exception as error:  # whatever a store, a network or a disk may raise
                self._resume_at = time.monotonic() + PAUSE_SECONDS
                if self.failure is None:
                    self.failure = first_line(error)
                    _log.warning("MLflow could not be written (%s); the study goes on.", self.failure)
        if run_id is not None:
            self.behind.add(run_id)
        return None


def _text(value: Any) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= TEXT_LENGTH else text[:TEXT_LENGTH] + " …"


def _name(name: str) -> str:
    """Return a run's name: one line, of a length that every database takes."""
    return " ".join(name.split())[:NAME_LENGTH]


def _dataset_input(data: Data) -> Any:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    columns = [("USER_ID", "string"), ("ITEM_ID", "string"), ("TIMESTAMP", "long")]  # those that every log has
    schema = {"mlflow_colspec": [{"type": kind, "name": name, "required": True} for name, kind in columns]}
    dataset = Dataset(
        name=data.name[:500],
        digest=data.digest[:12],  # MLflow shows it beside the name; the whole one is in the profile
        source_type="local",
        source=json.dumps({"uri": data.source}),
        schema=json.dumps(schema),
        profile=json.dumps({"content_hash": data.digest}),
    )
    return DatasetInput(dataset, tags=[InputTag("mlflow.data.context", data.context)])
