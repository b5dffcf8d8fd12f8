"""The seeds that follow from a study's: one place says who draws from which stream."""

import re
from pathlib import Path

import hrnn_hpo.study
from hrnn_hpo.study import seeds
from hrnn_hpo.study.seeds import SCREENING_STREAM, judging_seeds, split_seed_of_run, trial_seed


def test_the_streams_of_studies_that_have_begun_stay_as_they_are() -> None:
    streams = {name: value for name, value in vars(seeds).items() if name.endswith("_STREAM")}
    assert streams == {
        "PROPOSAL_STREAM": 0,
        "TRAINING_STREAM": 1,
        "CONFIRMATION_STREAM": 2,
        "MIXING_STREAM": 4,
        "PART_OF_USERS_STREAM": 4,
        "SCREENING_STREAM": 5,
    }


def test_a_runs_users_are_drawn_from_the_stream_after_that_of_its_model() -> None:
    assert split_seed_of_run(7, 1) == trial_seed(7, 1, stream=3)
    assert split_seed_of_run(7, 1, SCREENING_STREAM) == trial_seed(7, 1, stream=6)
    assert judging_seeds(7)[:2] == [split_seed_of_run(7, 0), split_seed_of_run(7, 1)]


def test_no_other_file_names_a_stream_by_its_number() -> None:
    [folder] = hrnn_hpo.study.__path__
    by_number = re.compile(r"(?i)stream ?= ?\d+|stream \+ 1")
    texts = {file.name: file.read_text(encoding="utf-8") for file in Path(folder).rglob("*.py")}
    assert [name for name, text in texts.items() if by_number.search(text)] == ["seeds.py"]
