"""The table of trials keeps apart what shares a name."""

import pytest
from optuna.distributions import IntDistribution
from optuna.trial import create_trial

from hrnn_hpo.search.space import SearchSpace
from hrnn_hpo.studies import trials_dataframe
from hrnn_hpo.study.attributes import SUMMARY, epoch_key
from hrnn_hpo.study.record import new_record, write_record
from hrnn_hpo.study.results.trials_table import trials_table
from hrnn_hpo.study.storage.database import create_study, open_storage


@pytest.mark.usefixtures("home")
def test_a_searched_number_of_epochs_and_a_metric_named_value_have_columns_of_their_own(space: SearchSpace) -> None:
    study = create_study("s", open_storage(create=True))
    facts = {"data": "d", "data_hash": "h", "sampler": "tpe", "pruner": "none", "seed": 0, "split_seed": 0}
    facts |= {"protocol": "personalize", "seen": "keep", "objective": "ndcg_at_10"}
    write_record(study, new_record(space, **facts))  # type: ignore[arg-type]
    attributes = {epoch_key(epoch): {"metrics": {}} for epoch in (1, 2)}
    study.add_trial(
        create_trial(
            value=0.5,
            params={"epochs": 9},
            distributions={"epochs": IntDistribution(1, 9)},
            user_attrs={**attributes, SUMMARY: {"best_epoch": 2, "metrics": {"value": 0.7}}},
        )
    )
    [row] = trials_dataframe("s").to_dict("records")
    assert (row["epochs"], row["params_epochs"]) == (2, 9)
    assert (row["value"], row["metrics_value"]) == (0.5, 0.7)
    header = trials_table(study).splitlines()[0].split(",")
    assert len(set(header)) == len(header)
