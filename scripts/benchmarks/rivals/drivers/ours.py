"""This project's trainer: one recurrent layer without feed-forward part, full softmax, the whole history."""

from pathlib import Path

import numpy as np
import torch
from common import Driver, Log

from hrnn_hpo.config import Configuration, parse_hyperparameters
from hrnn_hpo.data.prepared import load_dataset
from hrnn_hpo.experiment import prepare_experiment, run_experiment
from hrnn_hpo.training.progress import EpochReport


def main() -> None:
    driver = Driver()
    settings = driver.settings
    hyperparameters = parse_hyperparameters(
        {
            "hidden_dimension": settings["hidden"],
            "architecture": settings["architecture"],
            "recency_mask": False,
            "feed_forward": 0,
            "max_user_history_length_percentile": 1.0,
            "batch_size": settings["batch_size"],
            "learning_rate": settings["learning_rate"],
        },
        "settings",
    )
    configuration = Configuration(
        hyperparameters=hyperparameters,
        protocol="leave-one-out",
        seed=settings["seed"],
        n_threads=settings["threads"],
    )
    dataset = load_dataset(Path(settings["data"]))
    assert np.array_equal(Log.read(settings["log"]).items, dataset.items)

    def tell(report: EpochReport) -> None:
        driver.tell(report.seconds, round(report.targets_per_second * report.seconds), report.metrics["ndcg_at_10"])

    torch.set_num_threads(settings["threads"])
    run_experiment(
        prepare_experiment(dataset, configuration, "remove"),
        device="cpu",
        on_epoch=tell,
        fixed_epochs=settings["epochs"],
    )


if __name__ == "__main__":
    main()
