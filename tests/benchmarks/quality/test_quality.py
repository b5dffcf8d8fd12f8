"""A row of the quality benchmark, and its table."""

from small_runs import small_configuration

from hrnn_hpo.data.synthetic import markov
from scripts.benchmarks.kit.rows import Row
from scripts.benchmarks.quality import quality


def test_rows_of_seeds_become_a_table() -> None:
    dataset, protocols, rows = markov(n_users=60), ["personalize", "personalize-last"], {}
    for seed in (0, 1):
        configuration = small_configuration(epochs=1, split_seed=seed)
        figures = quality.measure(dataset, configuration, protocols)
        settings = {"data": "markov", "protocol": "personalize", "protocols": protocols, "seed": seed}
        rows[f"markov-personalize-{seed}"] = Row(
            date="", processor="", threads=1, versions={}, command="", settings=settings, figures=figures
        )
    metrics = [row.figures["personalize"]["remove"]["hrnn"]["ndcg_at_10"] for row in rows.values()]
    text = quality.report(rows)
    assert f"| personalize | remove | hrnn | {sum(metrics) / 2:.4f} ± " in text
    assert "| personalize-last | keep | item_knn |" in text
    wins = sum(row.figures["wins"] for row in rows.values())
    assert f"over split seeds 0, 1; ndcg_at_10 above item_knn on {wins} of 2 splits" in text
