"""What Amazon Personalize calls things, and its limits: recipes, hyperparameter lists, metrics, training jobs.

The recipes' hyperparameters themselves stand in search_spaces/aws-*.yaml, the one source.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from hrnn_hpo.search.parameter import Parameter

# Chosen once, after a look at the histogram of history lengths: no study may tune who is left out of training.
NEVER_TUNED = ("min_user_history_length_percentile", "max_user_history_length_percentile")


@dataclass(frozen=True)
class Recipe:
    """An Amazon Personalize recipe; `parameters` are its own, as wide as the service allows."""

    name: str
    type: str
    recipe_arn: str
    algorithm_arn: str
    feature_transformation_arn: str
    parameters: Mapping[str, Parameter] = field(default_factory=dict)


RECIPE_KEYS = ("name", "type", "recipe_arn", "algorithm_arn", "feature_transformation_arn")

# hpoResourceConfig's upper limits.
MAX_TRAINING_JOBS = 40
MAX_PARALLEL_JOBS = 10

# The service's names for metrics that both have; ours are understood too.
SERVICE_METRICS = {
    "ndcg_at_5": "normalized_discounted_cumulative_gain_at_5",
    "ndcg_at_10": "normalized_discounted_cumulative_gain_at_10",
    "ndcg_at_25": "normalized_discounted_cumulative_gain_at_25",
    "mrr_at_25": "mean_reciprocal_rank_at_25",
    "precision_at_5": "precision_at_5",
    "precision_at_10": "precision_at_10",
    "precision_at_25": "precision_at_25",
    "coverage": "coverage",
}
METRICS = {name: name for name in (*SERVICE_METRICS, "recall_at_10", "hit_rate_at_10")}
METRICS |= {theirs: ours for ours, theirs in SERVICE_METRICS.items()}

# The three lists of algorithmHyperParameterRanges, and our word for their type.
RANGE_LISTS = {
    "integerHyperParameterRanges": "integer",
    "continuousHyperParameterRanges": "continuous",
    "categoricalHyperParameterRanges": "categorical",
}
