"""`hrnn-hpo compare` sets studies of the same data against each other."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from hrnn_hpo.cli import options
from hrnn_hpo.cli.output import print_json, print_table, print_warning, results
from hrnn_hpo.errors import counted

if TYPE_CHECKING:
    from hrnn_hpo.study.compare.compare import Comparison

Studies = Annotated[
    list[str], typer.Argument(metavar="STUDY STUDY...", help="Names of two studies or more.", show_default=False)
]


def compare(
    studies: Studies,
    storage: options.Storage = None,
    tracking_uri: options.TrackingUri = None,
    json: options.Json = False,
) -> None:
    """Say which of several studies on the same data has the better winner, by how much, and how sure that is.

    Confirmed winners are compared on the same users, run by run where the studies share their --seed, else user by user
    as far as they have users in common. Studies that have only searched are shown by their best scores, which flatter,
    and nothing is decided. Test users choose nothing; where all studies have opened theirs, the figures are shown.

    Example:

      hrnn-hpo compare first second
    """
    from hrnn_hpo.study.compare.compare import compare as compare_studies

    found = compare_studies(*studies, storage=storage)
    if json:
        print_json(found.content())
        return
    _show(found, tracking_uri)


def _show(found: "Comparison", tracking_uri: str | None) -> None:
    from hrnn_hpo.cli.tune import ui_line
    from hrnn_hpo.stores import tracking_address

    for sentence in found.sentences():
        results.print(sentence, soft_wrap=True)
    rows: list[list[Any]] = []
    for one in found.ranking:
        confirmed = one.evidence == "confirmation"
        mean = _interval(one.mean, one.low, one.high) if confirmed else None
        what = f"{counted(one.n_runs, 'run')}, {counted(one.n_users, 'user')}" if confirmed else "none"
        rows.append([one.study, f"trial {one.trial}", mean, what, one.best_value])
    print_table(
        f"{found.objective}, protocol {found.protocol}, seen items: {found.seen}, data {found.data_hash[:12]}",
        ["study", "winner", "confirmed (95 %)", "confirmation", "best of the search"],
        rows,
    )
    if len(found.pairs) > 1:
        print_table(
            "Pairs: intervals and p hold for all of them at once",
            ["ahead", "behind", "difference", "p (Holm)", "finding", "compared"],
            [
                [one.ahead, one.behind, _interval(one.difference, one.low, one.high, "+"), one.p, one.finding, one.how]
                for one in found.pairs
            ],
        )
    if found.test:
        _show_test(found)
    unconfirmed = [one.study for one in found.ranking if one.evidence == "search"]
    if unconfirmed:
        print_warning(
            f"{', '.join(unconfirmed)}: searched and not confirmed. The best of many noisy scores flatters whoever "
            "reached it, and more so the more trials there were."
        )
    results.print(f"Every run: {ui_line(tracking_address(tracking_uri))}", soft_wrap=True)


def _show_test(found: "Comparison") -> None:
    print_table(
        "Test users, which all had opened (shown, not used)",
        ["study", f"{found.objective} (95 %)", "opened"],
        [
            [one.study, _interval(one.test["value"], one.test.get("low"), one.test.get("high")), one.test["opening"]]
            for one in sorted(found.ranking, key=lambda one: -one.test["value"])
        ],
    )
    for pair in found.test:
        p = "" if pair.p is None else f", p {pair.p:.3g} (paired by user)"
        told = _interval(pair.difference, pair.low, pair.high, "+")
        results.print(f"On the test users {pair.ahead} minus {pair.behind}: {told}{p}", soft_wrap=True)


def _interval(value: float, low: float | None, high: float | None, sign: str = "") -> str:
    if low is None or high is None:
        return f"{value:{sign}.4f}"
    return f"{value:{sign}.4f} [{low:{sign}.4f}, {high:{sign}.4f}]"
