"""A small shop whose real models train in a moment: its space, and a configuration far better than the defaults."""

from typing import Any

from hrnn_hpo.search.space import SearchSpace, space_from_content

SPACE = """extends: aws-hrnn
recipe: null
parameters:
  hidden_dimension: {range: [8, 32], default: 8}
  learning_rate: {kind: training, type: continuous, range: [0.0001, 0.03], log: true, default: 0.0002, doc: Step.}
  epochs: {kind: training, type: integer, range: [1, 50], default: 2, tunable: false, doc: Most epochs.}
  batch_size: {kind: training, type: integer, range: [1, 64], default: 16, tunable: false, doc: Users.}
fix: {bptt: 16, recency_mask: false}
"""
GOOD: dict[str, Any] = {"hidden_dimension": 24, "learning_rate": 0.02}


def clashing(space: SearchSpace) -> SearchSpace:
    """Return the space with averaged weights in every other configuration, which sampled negatives forbid."""
    content = space.content()
    choices = {"kind": "training", "type": "categorical", "choices": [0.0, 0.9], "default": 0.0}
    content["parameters"]["weight_averaging"] = choices
    content["fix"]["n_negatives"] = 5
    return space_from_content(content, "clashing")
