"""RecBole's GRU4Rec with its own data loader and trainer; validation scores are ranked as everyone's here."""

import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from common import Driver, Log
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.model.sequential_recommender import GRU4Rec
from recbole.trainer import Trainer
from recbole.utils import init_seed


def write_atomic_file(log: Log, file: Path) -> None:
    """Write the log as RecBole reads it, places in the history for times, so that ties keep their order."""
    file.parent.mkdir(parents=True)
    with file.open("w", encoding="utf-8") as out:
        out.write("user_id:token\titem_id:token\ttimestamp:float\n")
        for user in range(log.n_users):
            out.writelines(f"{user}\t{item}\t{place}\n" for place, item in enumerate(log.history(user)))


@torch.no_grad()
def validation_scores(model: GRU4Rec, valid_data, dataset, log: Log) -> np.ndarray:
    """Return scores (U, V) by our codes of users and items."""
    model.eval()
    code_of_token = dataset.field2token_id["item_id"]
    codes = np.array([code_of_token.get(str(item), -1) for item in range(log.n_items)])
    events = valid_data.dataset.inter_feat
    users = dataset.id2token("user_id", events["user_id"].numpy()).astype(int)
    scores = np.empty((log.n_users, log.n_items), dtype=np.float32)
    scores[users] = model.full_sort_predict(events).numpy()[:, codes]
    scores[:, codes < 0] = -np.inf  # items without an event, which RecBole never reads
    model.train()
    return scores


def main() -> None:
    driver = Driver()
    settings = driver.settings
    torch.set_num_threads(settings["threads"])
    log = Log.read(settings["log"])
    with tempfile.TemporaryDirectory() as folder:
        write_atomic_file(log, Path(folder, "log", "log.inter"))
        config = Config(
            model="GRU4Rec",
            dataset="log",
            config_dict={
                "data_path": folder,
                "checkpoint_dir": folder,
                "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
                "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user", "mode": "full"},
                "train_neg_sample_args": None,
                "loss_type": "CE",
                "hidden_size": settings["hidden"],
                "embedding_size": settings["hidden"],
                "num_layers": 1,
                "MAX_ITEM_LIST_LENGTH": settings["last_events"],
                "learning_rate": settings["learning_rate"],
                "use_gpu": False,
                "show_progress": False,
                "seed": settings["seed"],
                "state": "ERROR",
            },
        )
        init_seed(config["seed"], config["reproducibility"])
        dataset = create_dataset(config)
        train_data, valid_data, _ = data_preparation(config, dataset)
        model = GRU4Rec(config, train_data.dataset)
        trainer = Trainer(config, model)
        for epoch in range(settings["epochs"]):
            began = time.perf_counter()
            trainer._train_epoch(train_data, epoch)
            seconds = time.perf_counter() - began
            scores = validation_scores(model, valid_data, dataset, log)
            driver.tell(seconds, len(train_data.dataset), log.ndcg_at_10(scores))


if __name__ == "__main__":
    main()
