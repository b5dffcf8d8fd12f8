"""SASRec and eSASRec of RecTools, with its own data preparation, training and `recommend`.

RecTools trains on each user's last `session_max_len` + 1 events and knows the items that have one of them. After each
epoch validation users are ranked, and the weights of their best epoch are kept. Training ends after `patience` epochs
without a better one, after `epochs`, or where the next epoch would pass the budget of core-seconds (validation counts).
"""

import copy
import logging
import time
import warnings
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd
import torch
from assignment import BLOCK_ROWS, LIST_LENGTH, Assignment, Sequences, read_settings, tell, top_lists
from pytorch_lightning import Callback, LightningModule, Trainer, seed_everything
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import SASRecModel
from rectools.models.nn.transformers.ligr import LiGRLayers

VERSIONS = ("rectools", "torch", "pytorch-lightning", "numpy")


def frame(sequences: Sequences) -> pd.DataFrame:
    """Return sequences as RecTools' interactions, the place in the sequence for the time, so that ties keep order."""
    places = np.concatenate([np.arange(length) for length in np.diff(sequences.offsets)])
    return pd.DataFrame(
        {
            Columns.User: sequences.rows,
            Columns.Item: sequences.items,
            Columns.Weight: 1.0,
            Columns.Datetime: pd.to_datetime(places, unit="s"),
        }
    )


def known_codes(module: LightningModule) -> np.ndarray:
    """Return our code of each item that the model knows, in the model's order, its extra tokens left out."""
    return module.data_preparator.get_known_item_ids().astype(np.int64)


@torch.no_grad()
def ranked(module: LightningModule, inputs: Sequences, n_items: int, remove_seen: bool) -> np.ndarray:
    """Return the lists of users (R, 25) by a model under training, scored as RecTools scores them."""
    network, preparator = module.torch_model, module.data_preparator
    network.eval()
    codes, first = known_codes(module), preparator.n_item_extra_tokens
    of_code = np.zeros(n_items, dtype=np.int64)
    of_code[codes] = np.arange(first, first + len(codes))
    embedded = network.item_model.get_all_embeddings()
    lists = []
    for start in range(0, len(inputs), BLOCK_ROWS):
        rows = range(start, min(start + BLOCK_ROWS, len(inputs)))
        x = np.zeros((len(rows), preparator.session_max_len), dtype=np.int64)
        for place, row in enumerate(rows):
            own = of_code[inputs[row]]
            own = own[own > 0][-preparator.session_max_len :]
            x[place, len(x[place]) - len(own) :] = own
        states = network.encode_sessions({"x": torch.from_numpy(x)}, embedded)[:, -1]
        scores = np.full((len(rows), n_items), -np.inf, dtype=np.float32)
        scores[:, codes] = network.similarity_module(states, embedded).numpy()[:, first:]
        lists.append(top_lists(scores, inputs, start, remove_seen=remove_seen))
    network.train()
    return np.concatenate(lists)


class Watch(Callback):
    """Ranks for the validation users after each epoch, keeps the best weights, and ends the training."""

    def __init__(self, assignment: Assignment, patience: int, budget: float) -> None:
        self.assignment, self.patience, self.budget = assignment, patience, budget
        self.best = -1.0
        self.best_epoch = self.epoch = 0
        self.trained = self.spent = self.began = 0.0
        self.weights: dict[str, Any] = {}
        self.stopped = "epochs"

    def on_train_epoch_start(self, trainer: Trainer, module: LightningModule) -> None:
        self.began = time.process_time()

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        seconds = time.process_time() - self.began
        lists = ranked(module, self.assignment.validation, self.assignment.n_items, self.assignment.remove_seen)
        ndcg = self.assignment.validation_ndcg(lists)
        self.epoch += 1
        self.trained += seconds
        if ndcg > self.best:
            self.best, self.best_epoch = ndcg, self.epoch
            self.weights = copy.deepcopy(module.torch_model.state_dict())
        self.spent += time.process_time() - self.began
        tell("EPOCH", epoch=self.epoch, core_seconds=seconds, total_core_seconds=self.trained, ndcg_at_10=ndcg)
        if self.epoch - self.best_epoch >= self.patience:
            self.stopped = "patience"
        elif self.spent * (self.epoch + 1) / self.epoch > self.budget:
            self.stopped = "budget"
        trainer.should_stop = self.stopped != "epochs"


def main() -> None:
    settings = read_settings()
    began = time.process_time()
    torch.set_num_threads(settings["threads"])
    warnings.simplefilter("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    seed_everything(settings["seed"], verbose=False)
    assignment = Assignment.read(settings["assignment"])
    rival = dict(settings["hyperparameters"])
    patience, ligr = rival.pop("patience"), rival.pop("layers") == "LiGR"
    model = SASRecModel(**rival, **({"transformer_layers_type": LiGRLayers} if ligr else {}))
    model._trainer = Trainer(
        max_epochs=rival["epochs"],
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[Watch(assignment, patience, settings["budget_core_seconds"])],
    )
    model.fit(Dataset.construct(frame(assignment.train)))
    watch = next(one for one in model.fit_trainer.callbacks if isinstance(one, Watch))  # the trainer was copied
    model.torch_model.load_state_dict(watch.weights)
    users = np.arange(len(assignment.test))
    dataset = Dataset.construct(frame(assignment.test))
    found = model.recommend(users, dataset, k=assignment.length, filter_viewed=assignment.remove_seen)
    lists = np.full((len(users), assignment.length), -1, dtype=np.int64)
    lists[found[Columns.User].to_numpy(), found[Columns.Rank].to_numpy() - 1] = found[Columns.Item].to_numpy()
    assignment.write_rankings(settings["rankings"], lists)
    own = ranked(model.lightning_model, assignment.test, assignment.n_items, assignment.remove_seen)
    tell(
        "RESULT",
        n_ranked_items=len(known_codes(model.lightning_model)),
        n_parameters=sum(parameter.numel() for parameter in model.torch_model.parameters()),
        best_epoch=watch.best_epoch,
        n_epochs=watch.epoch,
        stopped_by=watch.stopped,
        validation_ndcg_at_10=watch.best,
        core_seconds=time.process_time() - began,
        same_lists_as_validation=float((own == lists[:, :LIST_LENGTH]).all(axis=1).mean()),
        versions={package: version(package) for package in VERSIONS},
    )


if __name__ == "__main__":
    main()
