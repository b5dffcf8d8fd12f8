"""What a study wrote down when it began: data, space, protocol, objective, seeds. It lives in the study itself.

A study is continued under the record it has; whatever contradicts it is refused, with the difference.
"""

import re
import shlex
import uuid
from datetime import UTC, datetime
from typing import Any, Literal

from optuna.study import Study
from pydantic import BaseModel, ConfigDict, ValidationError

from hrnn_hpo import __version__
from hrnn_hpo.config import Configuration, Hyperparameters
from hrnn_hpo.data.splits import Protocol
from hrnn_hpo.errors import StudyError
from hrnn_hpo.search.continuation import difference
from hrnn_hpo.search.space import SearchSpace, space_from_content
from hrnn_hpo.study.attributes import CONFIRMS

KEY = "record"
TRAINS_ALIKE_SINCE = (0, 2, 0)  # the oldest version whose trials are comparable with those of this one


class StudyRecord(BaseModel):
    """The facts that all trials of a study share, as plain values, so that any process can go on from them."""

    model_config = ConfigDict(frozen=True, extra="ignore")  # a later version may know more

    uid: str  # tells apart studies that have had one name
    created: str
    version: str
    data: str  # path as given, for messages and commands
    data_hash: str
    space: dict[str, Any]  # SearchSpace.content()
    space_fingerprint: str
    protocol: Protocol
    split_seed: int
    seen: Literal["remove", "keep"]
    objective: str  # the first one
    more_objectives: list[str] = []
    seed: int
    sampler: str
    pruner: str
    keep: int | None = None  # trials that the pruner `epochs:K` finishes
    priors: bool = False  # whether trials also come from the space's priors; studies of earlier versions knew none
    user_fraction: float | None = None  # of the training users, in the search; all unless given
    deterministic: bool = False  # the same table for any number of workers
    n_held_back: int | None = None  # validation users for the confirmation alone; None: version 0.1.0 held none back

    @property
    def objectives(self) -> list[str]:
        """All objectives, the leading one first."""
        return [self.objective, *self.more_objectives]

    def configuration(self, hyperparameters: Hyperparameters, **facts: Any) -> Configuration:
        """Return what the search trains with some hyperparameters: on its split, and its part of the users."""
        ours = {
            "protocol": self.protocol,
            "split_seed": self.split_seed,
            "user_fraction": self.user_fraction,
            "n_held_back": self.n_held_back or None,
        }
        return Configuration(hyperparameters=hyperparameters, **{**ours, **facts})

    def search_space(self) -> SearchSpace:
        """Return the study's space, from the record alone."""
        return space_from_content(self.space, f"space {self.space.get('name', '')} recorded in the study")


def new_record(space: SearchSpace, **facts: Any) -> StudyRecord:
    """Return the record of a study that begins now."""
    return StudyRecord(
        uid=uuid.uuid4().hex,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        version=__version__,
        space=space.content(),
        space_fingerprint=space.fingerprint(),
        **facts,
    )


def in_space(record: StudyRecord, space: SearchSpace) -> StudyRecord:
    """Return the record of the same study in another space."""
    return record.model_copy(update={"space": space.content(), "space_fingerprint": space.fingerprint()})


def write_record(study: Study, record: StudyRecord) -> None:
    """Write a record into a study."""
    study.set_user_attr(KEY, record.model_dump())


def read_record(study: Study) -> StudyRecord:
    """Return the record of a study. Raises StudyError for a study that other software made."""
    content = study.user_attrs.get(KEY)
    try:
        return StudyRecord.model_validate(content)
    except ValidationError as error:
        if CONFIRMS in study.user_attrs:
            raise beside(study) from None
        raise StudyError(
            f"Study {study.study_name!r} was not made by hrnn-hpo: it has no record of data and space."
        ) from error


def beside(companion: Study) -> StudyError:
    """Return the refusal of a study that holds the confirmation's runs of another one."""
    owner = companion.user_attrs[CONFIRMS]
    return StudyError(f"{companion.study_name!r} holds the confirmation's runs of study {owner!r}: name that one.")


def uid_of(study: Study) -> str | None:
    """Return a study's uid, None for a study without a record."""
    content = study.user_attrs.get(KEY)
    return str(content["uid"]) if isinstance(content, dict) and "uid" in content else None


def require_comparable(name: str, record: StudyRecord) -> None:
    """Raise StudyError for a study whose trials an earlier version trained in another way than this one would."""
    if _version(record.version) < TRAINS_ALIKE_SINCE:
        raise StudyError(
            f"Study {name!r} was begun by version {record.version}, which trained otherwise (event values as they "
            "came, larger updates, earlier stops): new trials could not be compared with its own. `status`, `export`, "
            f"`report` and `sync` still read it. Begin another study, and try its best configurations early with "
            f"`--warm-start {shlex.quote(name)}`."
        )


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])


def check_same(name: str, record: StudyRecord, space: SearchSpace | None, **asked: Any) -> None:
    """Raise StudyError with every difference between a study's record and what is asked for now (None: not asked)."""
    lines = [
        f"  {key}: {getattr(record, key)} -> {value}"
        for key, value in asked.items()
        if value is not None and value != getattr(record, key)
    ]
    if space is not None and space.fingerprint() != record.space_fingerprint:
        lines += [f"  space: {line}" for line in difference(record.search_space(), space)]
    if lines:
        raise StudyError(
            f"Study {name!r} cannot go on with other settings than it began with (recorded -> asked):\n"
            + "\n".join(lines)
            + "\nGive the recorded ones, or another --study name."
        )
