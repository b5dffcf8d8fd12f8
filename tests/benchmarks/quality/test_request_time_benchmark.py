"""The table of request times: what a model gains that is told, and what it loses where it is not."""

from hrnn_hpo.training import targets
from scripts.benchmarks.kit.rows import Row
from scripts.benchmarks.quality import request_time
from scripts.benchmarks.quality.request_time import ALL, KNOWN, PATCHES, VARIANTS, configuration_of


def row(unknown: float, known: float | None) -> Row:
    def tested(value: float) -> dict[str, dict[str, float]]:
        return {"remove": {"ndcg_at_10": value}}

    figures = {
        "validation": {"ndcg_at_10": 0.3},
        "test": tested(unknown),
        "best_epoch": 7,
        "targets_per_second": 1000.0,
        **({} if known is None else {KNOWN: tested(known)}),
    }
    return Row(date="", processor="", threads=1, versions={}, command="", settings={}, figures=figures)


def test_gains_are_paired_by_seed_and_of_finished_variants() -> None:
    levels = (0.1, 0.3, 0.2)
    rows = {f"none-{seed}": row(level, None) for seed, level in enumerate(levels)}
    rows |= {f"{ALL}-{seed}": row(level - 0.01, level + 0.02) for seed, level in enumerate(levels)}
    rows["gap-0"] = row(0.9, 0.9)  # one seed of three
    none, told = request_time.report(rows).splitlines()[2:4]
    assert none == "| none | 0.3000 ± 0.0000 | 0.2000 ± 0.0577 |  |  |  | 7, 7, 7 | 1,000 |"
    assert "| -0.0100 ± 0.0000 | 0.0200 ± 0.0000 |" in told
    assert "| gap |" not in request_time.report(rows)


def test_variants_differ_in_what_is_read_and_the_quarter_in_how_often() -> None:
    read = {variant: configuration_of(variant, 0).hyperparameters.request_time for variant in VARIANTS}
    assert read == VARIANTS
    with PATCHES["quarter-unknown"]():
        assert targets.SHARE_UNKNOWN == 0.25
    assert targets.SHARE_UNKNOWN == 0.5
