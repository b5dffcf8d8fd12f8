"""The table of the ablations: paired differences, of seeds that are all finished."""

from scripts.benchmarks.kit.rows import Row
from scripts.benchmarks.quality import ablation


def row(validation: float, **more: object) -> Row:
    figures = {
        "validation": {"ndcg_at_10": validation},
        "test": {"remove": {"ndcg_at_10": 0.5}},
        "best_epoch": 7,
        "targets_per_second": 1000.0,
    }
    return Row(date="", processor="", threads=1, versions={}, command="", settings={}, figures=figures | more)


def test_differences_to_the_base_are_paired_by_seed() -> None:
    rows = {f"base-{seed}": row(level) for seed, level in enumerate((0.1, 0.3, 0.2))}
    rows |= {f"decay-{seed}": row(level) for seed, level in enumerate((0.11, 0.31, 0.21))}
    rows["bptt-8-0"] = row(0.9)  # one seed of three
    base, decay = ablation.report(rows).splitlines()[2:4]
    assert base == "| base | 0.2000 ± 0.0577 |  | 0.5000 ± 0.0000 | 7, 7, 7 | 1,000 |"
    assert decay == "| decay | 0.2100 ± 0.0577 | 0.0100 ± 0.0000 | 0.5000 ± 0.0000 | 7, 7, 7 | 1,000 |"
    assert "bptt-8" not in ablation.report(rows)


def test_a_difference_to_a_published_base_is_not_made_up() -> None:
    published = {"mean": 0.2, "error": 0.01}
    rows = {"base": row(0).model_copy(update={"figures": row(0).figures | {"validation": {"ndcg_at_10": published}}})}
    rows |= {f"decay-{seed}": row(0.21) for seed in ablation.SEEDS}
    base, decay = ablation.report(rows).splitlines()[2:4]
    assert base.startswith("| base | 0.2000 ± 0.0100 |  |")
    assert decay.startswith("| decay | 0.2100 ± 0.0000 |  |")
