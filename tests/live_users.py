"""A stored log of five users, models of its shape, and requests to a server, imported by the tests of serving."""

import contextlib
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from small_runs import model_for, small_configuration

from hrnn_hpo.data.featurize import ValueScale
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.data.synthetic import EPOCH, MINUTE, make_dataset
from hrnn_hpo.model.folder import SavedModel, SplitRecord
from hrnn_hpo.serving.recommender import Recommender

ITEMS = [f"i{item:02d}" for item in range(12)]
NOW = EPOCH + 100_000

Row = tuple[str, int, str | None, float | None, str | None]


def stored_histories(with_sessions: bool) -> dict[str, list[Row]]:
    generator = np.random.default_rng(5)
    return {
        f"u{user}": [
            (
                ITEMS[generator.integers(12)],
                EPOCH + MINUTE * step + 4000 * (step // 4),
                "buy" if step % 3 else "view",
                float(step % 5),
                f"s{step // 3}" if with_sessions else None,
            )
            for step in range(8 + user)
        ]
        for user in range(5)
    }


def log_of(histories: dict[str, list[Row]]) -> Dataset:
    return make_dataset(list(histories.values()), user_ids=list(histories), extra_items=ITEMS)


def recommender_for(dataset: Dataset, seen: Any = "keep", **changes: Any) -> Recommender:
    record = SplitRecord("personalize", 0, dataset.content_hash, "keep")
    model = model_for(dataset, value_scale=ValueScale(2.0, 1.5, 5.0), **changes)
    saved = SavedModel(Path("m"), model, small_configuration(**changes), record, dataset)
    return Recommender(saved, seen)


def scores(answers: Any) -> dict[str, float]:
    return {entry.item: entry.score for entry in answers}


def ask(address: str, body: Any = None) -> tuple[int, Any]:
    """Return status and JSON of a GET, or of a POST if there is a body."""
    data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(address, data, {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


@contextlib.contextmanager
def serving_thread(app: Any) -> Iterator[str]:
    """Serve an application from a thread, on a free port; gives its address."""
    import uvicorn

    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    deadline = time.monotonic() + 60
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.02)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(30)
