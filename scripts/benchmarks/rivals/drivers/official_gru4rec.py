"""The official GRU4Rec (its authors' PyTorch repository, on PYTHONPATH) with its own `fit`; a history is a session."""

import time
from collections.abc import Iterator

import numpy as np
import pandas as pd
import torch
from common import Driver, Log
from gru4rec_pytorch import GRU4Rec, SessionDataIterator


def training_table(log: Log) -> pd.DataFrame:
    """Return the training events, the place in the history for the time."""
    histories = [log.history(user)[:-2] for user in range(log.n_users)]
    return pd.DataFrame(
        {
            "SessionId": np.repeat(np.arange(log.n_users), [len(history) for history in histories]),
            "ItemId": np.concatenate(histories),
            "Time": np.concatenate([np.arange(len(history)) for history in histories]),
        }
    )


@torch.no_grad()
def validation_scores(trained: GRU4Rec, log: Log) -> np.ndarray:
    """Return scores (U, V): users advance together, longest first, each until its training events are read."""
    model, codes = trained.model, trained.data_iterator.itemidmap
    histories = [codes[log.history(user)[:-2]].to_numpy() for user in range(log.n_users)]
    order = sorted(range(log.n_users), key=lambda user: -len(histories[user]))
    last = torch.zeros(log.n_users, trained.layers[-1])
    hidden = [torch.zeros(log.n_users, size) for size in trained.layers]
    for step in range(len(histories[order[0]])):
        going = sum(len(history) > step for history in histories)
        hidden = [state[:going] for state in hidden]
        embedded, _, _ = model.embed(torch.tensor([int(histories[user][step]) for user in order[:going]]), hidden)
        last[:going] = model.hidden_step(embedded, hidden)
    known = model.score_items(last, model.Wy.weight, model.By.weight).numpy()
    scores = np.full((log.n_users, log.n_items), -np.inf, dtype=np.float32)
    scores[np.ix_(order, codes.index.to_numpy())] = known
    return scores


def main() -> None:
    driver = Driver()
    settings = driver.settings
    torch.set_num_threads(settings["threads"])
    torch.manual_seed(settings["seed"])
    log = Log.read(settings["log"])
    trained = GRU4Rec(
        layers=[settings["hidden"]],
        n_sample=settings["negatives"],
        batch_size=settings["batch_size"],
        learning_rate=settings["learning_rate"],
        dropout_p_hidden=settings["dropout"],
        logq=1.0,
        n_epochs=settings["epochs"],
        device=torch.device("cpu"),
    )
    table = training_table(log)
    n_targets = len(table) - log.n_users
    batches = SessionDataIterator.__call__

    def epoch_told(self: SessionDataIterator, *arguments, **keywords) -> Iterator:
        """Pass one epoch's batches on; its time ends with its last batch, before the validation here."""
        began = time.perf_counter()
        yield from batches(self, *arguments, **keywords)
        driver.tell(time.perf_counter() - began, n_targets, log.ndcg_at_10(validation_scores(trained, log)))

    SessionDataIterator.__call__ = epoch_told
    trained.fit(table, compatibility_mode=False)  # the other initialization needs NumPy 1


if __name__ == "__main__":
    main()
