"""What a model and the baselines reach on a part of an experiment's split, the whole catalogue ranked.

Which model that is, and who may look at the test users, is for callers to say.
"""

from collections.abc import Callable, Mapping
from typing import Literal

from hrnn_hpo.cores import default_threads
from hrnn_hpo.data.requests import NO_REQUEST_TIME
from hrnn_hpo.data.splits import EvalPart
from hrnn_hpo.device import undisturbed_caller
from hrnn_hpo.errors import ConfigError
from hrnn_hpo.evaluation.baselines import BASELINES, BaselineFigures, Chooser, evaluate_baselines
from hrnn_hpo.evaluation.protocols import Evaluation, UserMetric, evaluate
from hrnn_hpo.experiment.prepared import Experiment
from hrnn_hpo.model.encode import score_rows
from hrnn_hpo.model.ensemble import AnyModel


def evaluate_model(
    model: AnyModel,
    experiment: Experiment,
    part: EvalPart,
    *,
    request_time: Literal["known", "unknown"] = "unknown",
    value_weighted: bool = False,
    extra_metrics: Mapping[str, UserMetric] | None = None,
) -> Evaluation:
    """Return the figures of a model on a part of the experiment's split, the whole catalogue ranked.

    With `request_time` known, the model is told that each list is asked for at the time of the first truth event.
    Raises ConfigError for a model that does not read it.
    """
    requests = None
    if request_time == "known":
        requests = experiment.training.requests
        if requests is None:
            raise ConfigError(NO_REQUEST_TIME)
    n_threads = experiment.configuration.n_threads or default_threads()
    with undisturbed_caller(n_threads, model.item_bias.device):
        return evaluate(
            experiment.dataset,
            part,
            score_rows(model, experiment.dataset, experiment.inputs, part, requests),
            seen=experiment.seen,
            apart=experiment.apart,
            value_weighted=value_weighted,
            extra_metrics=extra_metrics,
        )


def popularity_figure(
    experiment: Experiment, part: EvalPart, objective: str, extra_metrics: Mapping[str, UserMetric] | None
) -> float:
    """Return what popularity reaches in the objective on a part."""
    score = BASELINES["popularity"](experiment.dataset, experiment.split.train, part)
    found = evaluate(experiment.dataset, part, score, seen=experiment.seen, extra_metrics=extra_metrics)
    return found.metrics[objective]


def compare_baselines(
    experiment: Experiment,
    part: EvalPart,
    *,
    objective: str = "ndcg_at_10",
    value_weighted: bool = False,
    extra_metrics: Mapping[str, UserMetric] | None = None,
    tell: Callable[[str], None] = lambda text: None,
) -> BaselineFigures:
    """Return the baselines' figures on a part that a model of this experiment is evaluated on.

    They learn what the model learned; validation users choose their constants by the objective. `tell` is told of what
    takes long.
    """
    assert experiment.split.validation is not None, "protocol none has no validation users"
    return evaluate_baselines(
        experiment.dataset,
        experiment.split.train,
        part,
        seen=experiment.seen,
        chooser=Chooser(experiment.search_train, experiment.split.validation, objective),
        value_weighted=value_weighted,
        extra_metrics=extra_metrics,
        tell=tell,
    )
