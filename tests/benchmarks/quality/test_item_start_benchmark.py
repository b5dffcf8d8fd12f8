"""The table of item starts: gains paired by seed, variants that train as their names say."""

from hrnn_hpo.model import hrnn
from scripts.benchmarks.kit.rows import Row
from scripts.benchmarks.quality import item_start
from scripts.benchmarks.quality.item_start import PATCHES, VARIANTS, configuration_of

GAINS = {"random": 0.0, "users": 0.03}


def row(validation: float, test: float) -> Row:
    figures = {"validation": {"ndcg_at_10": validation}, "test": {"remove": {"ndcg_at_10": test}}, "best_epoch": 7}
    return Row(date="", processor="", threads=1, versions={}, command="", settings={}, figures=figures)


def test_gains_are_paired_by_seed_and_of_finished_variants() -> None:
    levels = (0.1, 0.3, 0.2)
    rows = {f"random-{seed}": row(level, level) for seed, level in enumerate(levels)}
    rows |= {f"neighbours-{seed}": row(level + 0.01, level - 0.02) for seed, level in enumerate(levels)}
    rows["shuffled-ties-0"] = row(0.9, 0.9)  # one seed of three
    random, neighbours = item_start.report(rows).splitlines()[4:6]
    assert random == "| random | 0.2000 ± 0.0577 |  | 0.2000 ± 0.0577 |  | 7, 7, 7 |"
    assert "| 0.0100 ± 0.0000 | 0.1800 ± 0.0577 | -0.0200 ± 0.0000 |" in neighbours
    assert "shuffled-ties" not in item_start.report(rows)
    assert "personalize" not in item_start.report(rows)
    rows |= {f"personalize-{name}-{split}": row(0.1, 0.2 + gain) for split in range(5) for name, gain in GAINS.items()}
    personalize = item_start.report(rows).partition("**personalize**")[2].splitlines()
    assert personalize[5].startswith(
        "| users | 0.1000 ± 0.0000 | 0.0000 ± 0.0000 | 0.2300 ± 0.0000 | 0.0300 ± 0.0000 |"
    )


def test_variants_train_as_their_names_say() -> None:
    for variant, changes in VARIANTS.items():
        found = configuration_of(variant, 1)
        assert {name: getattr(found.hyperparameters, name) for name in changes} == changes
        assert (found.protocol, found.seed) == ("leave-one-out", 1)
    split = configuration_of("personalize-users", 3)
    assert (split.protocol, split.split_seed, split.seed) == ("personalize", 3, 3)
    assert split.hyperparameters.item_start == "users"
    with PATCHES["neighbours-.2"]():
        assert hrnn.ITEM_START == 0.2
    with PATCHES["random-.1"]():
        assert hrnn.RANDOM_START == 0.1
    assert (hrnn.ITEM_START, hrnn.RANDOM_START) == (0.1, 0.02)
