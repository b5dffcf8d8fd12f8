"""The tables of rivals.json: a table for each log, and how many core-seconds each trainer took to SASRec's score."""

from collections.abc import Sequence
from typing import Any

from hrnn_hpo.evaluation.baselines import constants_note
from scripts.benchmarks.kit.rows import Figures, Row, Rows
from scripts.benchmarks.kit.tables import mean_and_error, table, verdict

METRICS = ("ndcg_at_10", "hit_rate_at_10")
APART = ("ndcg_at_10_repeats", "ndcg_at_10_new")
NAMES = {
    "esasrec": "eSASRec (RecTools)",
    "sasrec": "SASRec (RecTools)",
    "sasrec-sampled": "SASRec, 256 negatives (RecTools)",
    "als": "ALS (implicit)",
    "hrnn-defaults": "**hrnn-hpo**, defaults",
    "hrnn-best": "**hrnn-hpo**, best/ configuration",
}
SASREC = ("sasrec", "esasrec", "sasrec-sampled")
GOAL = 10  # times fewer core-seconds to SASRec's score


def report(rows: Rows) -> str:
    """Return the tables of each log that has a row."""
    logs = dict.fromkeys(row.settings["log"] for row in rows.values())
    found = {log: [row for row in rows.values() if row.settings["log"] == log] for log in logs}
    return "\n\n".join(log_table(part) for of_log in found.values() for part in alike(of_log))


def alike(rows: Sequence[Row]) -> list[list[Row]]:
    """Return the rows of a log that may stand in one table.

    Where seeds draw the test users or the order of ties, a system with fewer seeds than others has a table of its own,
    in which the others stand with these seeds alone.
    """
    settings = rows[0].settings
    if not settings["protocol"].startswith("personalize") and settings["ties"] == "file":
        return [list(rows)]
    seeds_of = {system: {row.settings["seed"] for row in done} for system, done in systems_of(rows).items()}
    return [
        [row for row in rows if row.settings["seed"] in seeds and seeds_of[row.settings["system"]] >= seeds]
        for seeds in sorted({frozenset(seeds) for seeds in seeds_of.values()}, key=lambda one: (-len(one), sorted(one)))
    ]


def systems_of(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Return the rows of each system, by seed."""
    found: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: row.settings["seed"]):
        found.setdefault(row.settings["system"], []).append(row)
    return found


def log_table(rows: Sequence[Row]) -> str:
    """Return the table of one log, best first, and the sentences on time."""
    systems = dict(sorted(systems_of(rows).items(), key=lambda one: -mean(one[1], "ndcg_at_10")))
    asked = rows[0].settings
    apart = [metric for metric in APART if metric in rows[0].figures["test"]]
    columns = ["system", *METRICS, *apart, "seeds", "order of ties", "request time known", "trains on the last but one",
               "items ranked", "parameters", "best epoch of", "core-minutes"]  # fmt: skip
    lines = [line(NAMES.get(system, system), done, apart) for system, done in systems.items()]
    share = "" if asked["users"] == 1 else f", {asked['users']:.0%} of the users"
    head = f"**{asked['log']}**, {asked['protocol']}, seen items {asked['seen']}, {asked['n_items']:,} items{share}"
    return "\n\n".join([head, table(columns, lines), *notes(systems), *time_to_score(systems)])


def notes(systems: dict[str, list[Row]]) -> list[str]:
    """Return sentences on budgets, constants and versions, those of a system's first seed."""
    first = {system: done[0] for system, done in systems.items()}
    budgets = {
        f"{row.settings['budget_core_seconds'] / 60:.0f} core-minutes in batches of "
        f"{row.settings['hyperparameters']['batch_size']} users"
        for row in first.values()
        if "budget_core_seconds" in row.settings
    }
    constants = {system: row.figures["constants"] for system, row in first.items() if row.figures.get("constants")}
    versions = {one for row in first.values() for one in row.figures.get("versions", {}).items()}
    told = [
        f"SASRec's budget: {', '.join(sorted(budgets))}." if budgets else None,
        constants_note(dict(sorted(constants.items()))),
        "Rivals' versions: " + ", ".join(" ".join(one) for one in sorted(versions)) + "." if versions else None,
    ]
    return [" ".join(sentence for sentence in told if sentence)] if any(told) else []


def line(name: str, done: Sequence[Row], apart: Sequence[str]) -> list[object]:
    """Return a system's line: means over its seeds, parameters and items of the first one."""
    first, settings = done[0].figures, done[0].settings
    cells = [figure([row.figures["test"][metric] for row in done]) for metric in (*METRICS, *apart)]
    seeds = ", ".join(str(row.settings["seed"]) for row in done)
    known = ["yes" if settings[key] else "no" for key in ("knows_request_time", "trains_on_last_but_one")]
    minutes = sum(row.figures["core_seconds"] for row in done) / len(done) / 60
    return [
        name,
        *cells,
        seeds,
        settings["ties"],
        *known,
        f"{first['n_ranked_items']:,}",
        f"{first['n_parameters']:,}" if "n_parameters" in first else "",
        "; ".join(epochs_told(row.figures) for row in done) if first["epochs"] else "",
        f"{minutes:.1f}" if minutes >= 0.1 else f"{minutes:.2f}",
    ]


def epochs_told(figures: Figures) -> str:
    """Return the best epoch of those reached, and whether the budget ended the training."""
    ended = ", budget" if figures.get("stopped_by") == "budget" else ""
    return f"{figures['best_epoch']} of {figures['n_epochs']}{ended}"


def figure(values: Sequence[float]) -> str:
    return mean_and_error(values) if len(values) > 1 else f"{values[0]:.4f}"


def mean(rows: Sequence[Row], metric: str) -> float:
    return sum(row.figures["test"][metric] for row in rows) / len(rows)


def core_seconds_to(epochs: Sequence[Any], score: float) -> float | None:
    """Return the core-seconds of training after which a validation score was reached, None where it never was."""
    return next((float(epoch["total_core_seconds"]) for epoch in epochs if epoch["ndcg_at_10"] >= score), None)


def time_to_score(systems: dict[str, list[Row]]) -> list[str]:
    """Return a list for each SASRec and seed: core-seconds of training to its best validation score, its own and ours.

    Validation is not counted on either side.
    """
    sentences = []
    for rival in SASREC:
        for row in systems.get(rival, ()):
            seed, epochs = row.settings["seed"], row.figures["epochs"]
            score = max(epoch["ndcg_at_10"] for epoch in epochs)
            theirs = core_seconds_to(epochs, score)
            assert theirs is not None
            told = [
                f"{NAMES[system].replace('**', '')} {ours_told(ours.figures['epochs'], score, theirs)}"
                for system in ("hrnn-defaults", "hrnn-best")
                for ours in systems.get(system, ())
                if ours.settings["seed"] == seed
            ]
            if told:
                sentences.append(
                    f"- seed {seed}, {NAMES[rival]}: best validation ndcg_at_10 {score:.4f} after {theirs:.0f} "
                    f"core-seconds; {'; '.join(told)}."
                )
    if not sentences:
        return []
    return [f"Core-seconds of training to SASRec's score (goal: a {GOAL}th of SASRec's):\n\n" + "\n".join(sentences)]


def ours_told(epochs: Sequence[Any], score: float, theirs: float) -> str:
    here = core_seconds_to(epochs, score)
    if here is None:
        best = max(epoch["ndcg_at_10"] for epoch in epochs)
        return f"never reaches it (best {best:.4f}, goal {verdict(False)})"
    return f"{here:.1f}, {theirs / here:.1f} times fewer (goal {verdict(here * GOAL <= theirs)})"
