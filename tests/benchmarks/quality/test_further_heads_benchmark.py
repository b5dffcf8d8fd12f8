"""The benchmark of further heads: what it ranks by, what its variants change, and its table."""

import numpy as np
import pytest
import torch
from small_runs import inputs_of, model_for
from strategies import dataset_of

from hrnn_hpo.data.repeats import own_items_after
from hrnn_hpo.model.encode import encode
from scripts.benchmarks.kit.rows import Row
from scripts.benchmarks.quality import further_heads
from scripts.benchmarks.quality.further_heads import NONE, SHARES, VARIANTS, asked_by, configuration_of


@pytest.mark.parametrize("repeats", ["ignored", "mixed"])
@torch.no_grad()
def test_a_mixture_of_heads_is_the_weighted_sum_of_their_probabilities(repeats: str) -> None:
    dataset = dataset_of([[0, 1, 0, 2, 3], [3, 4, 5, 4, 3]])
    model = model_for(dataset, further_heads_weight=0.5, repeats=repeats)
    asked = asked_by(model, SHARES["events"])
    outputs = encode(asked, inputs_of(dataset), np.array([0, 5]), np.array([5, 5]))
    own = own_items_after(np.repeat([0, 1], 5), dataset.items, dataset.timestamps)
    plain = model.readout(outputs)
    assert model.further_heads is not None
    readouts = [plain, *(model.further_heads(plain, np.array([ahead, ahead])) for ahead in (1, 4))]
    expected = sum(
        share * torch.softmax(model.score_after(readout, own), dim=1)
        for share, readout in zip((0.1, 0.3, 0.6), readouts, strict=True)
    )
    assert isinstance(expected, torch.Tensor)
    torch.testing.assert_close(torch.softmax(asked.score_after(asked.readout(outputs), own), dim=1), expected)
    assert torch.equal(model.readout(outputs), plain)  # the model itself is as it was


def test_variants_differ_in_what_they_learn_of_later_events_alone() -> None:
    for log in further_heads.LOGS:
        base = configuration_of(log, NONE, 0).hyperparameters.model_dump()
        for variant in VARIANTS:
            other = configuration_of(log, variant, 0).hyperparameters.model_dump()
            changed = {name for name in base if base[name] != other[name]}
            assert changed <= {"further_heads_weight", "targets_ahead"}
            assert len(changed) == (variant != NONE)


def row(*values: float) -> Row:
    ranked = dict(zip(("next", *SHARES), ({"ndcg_at_10": value} for value in values), strict=False))
    figures = {"validation": ranked, "test": ranked, "best_epoch": 7, "targets_per_second": 1000.0}
    return Row(date="", processor="", threads=1, versions={}, command="", settings={}, figures=figures)


def test_gains_are_paired_by_seed_and_of_finished_variants() -> None:
    levels = (0.1, 0.3, 0.2)
    rows = {f"ml-100k-{NONE}-{seed}": row(level) for seed, level in enumerate(levels)}
    rows |= {f"ml-100k-0.5-{seed}": row(level + 0.02, level, level - 0.01) for seed, level in enumerate(levels)}
    rows["ml-100k-1.0-0"] = row(0.9, 0.9, 0.9)  # one seed of three
    text = further_heads.report(rows)
    lines = text.splitlines()
    none = "| none | next | 0.2000 ± 0.0577 |  | 0.2000 ± 0.0577 |  | 7, 7, 7 | 1,000 |"
    assert lines[4] == none
    assert lines[5].startswith("| 0.5 | next | 0.2200 ± 0.0577 | 0.0200 ± 0.0000 |")
    assert lines[7].startswith("| 0.5 | events | 0.1900 ± 0.0577 | -0.0100 ± 0.0000 |")
    assert "| 1.0 |" not in text
    assert "baskets**" not in text
