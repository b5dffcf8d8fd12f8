"""What each hyperparameter brought and when to stop, as a section of a report."""

from typing import Any

from hrnn_hpo.pages.page import Html, element, section, table
from hrnn_hpo.study.report.answers import Answers

TITLE = "What each hyperparameter brought, and when to stop"


def answers_section(found: Answers) -> Html:
    """Return both answers, or why there are none."""
    effects, outlook = found.effects, found.outlook
    if effects.noise is None:
        return section(TITLE, *effects.sentences())
    rows: list[list[Any]] = []
    for one in effects.effects:
        gain = None if one.gain is None else f"{one.gain:+.4f}"
        rows.append([one.name, one.default, one.winner, gain, one.error, one.finding, one.where() or None])
    return section(
        TITLE,
        element("p", outlook.sentence()),
        "Gain of the winner's value over the default's, the other hyperparameters as in the trials, ± its standard "
        f"error (a Gaussian process on {effects.n_trials} complete trials). What does not matter stays within one "
        f"trial's noise ({effects.noise:.4f}) around the winner's value, two standard errors included.",
        table(["", "default", "winner", "gain", "±", "finding", "does not matter"], rows),
    )
