"""Amazon's solutionConfig in tests: written, read, refused, and held against the service model of botocore."""

import json
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator

from hrnn_hpo.errors import SpaceError
from hrnn_hpo.search.amazon.personalize import read_solution_config
from hrnn_hpo.search.space import load_space

RECIPE = load_space("aws-hrnn")
SHAPE = botocore.session.get_session().get_service_model("personalize").operation_model("CreateSolution").input_shape


def check_with_botocore(config: dict[str, Any]) -> None:
    request = {"name": "mine", "datasetGroupArn": "arn:aws:personalize:eu-west-1:1:dataset-group/d"}
    report = ParamValidator().validate({**request, "performHPO": True, "solutionConfig": config}, SHAPE)
    assert not report.has_errors(), report.generate_report()


def ranges(**lists: Any) -> dict[str, Any]:
    return {"hpoConfig": {"algorithmHyperParameterRanges": {f"{k}HyperParameterRanges": v for k, v in lists.items()}}}


def read(folder: Path, content: Any, space: str = "aws-hrnn") -> Any:
    path = folder / "solution.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return read_solution_config(path, load_space(space))


def refusal(folder: Path, content: Any, space: str = "aws-hrnn") -> list[str]:
    with pytest.raises(SpaceError) as caught:
        read(folder, content, space)
    return [line.removeprefix(f"{folder}/solution.json: ") for line in str(caught.value).splitlines()]
