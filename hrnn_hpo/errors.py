"""The exceptions a user can cause, in one small tree; the command line prints them without a traceback.

Programming mistakes stay AssertionError, TypeError and friends. `counted` writes the numbers in messages.
"""


class HRNNError(Exception):
    """Base of every error that a user can cause and mend; `exit_code` is the process's answer."""

    exit_code = 2


class ConfigError(HRNNError):
    """A setting, a configuration file or a combination of options breaks a rule."""


class DataError(HRNNError):
    """Input data breaks a rule; the message names the file, the line and what came."""


class SpaceError(ConfigError):
    """A search space breaks a rule; the message lists every problem with its file and key."""


class ModelError(HRNNError):
    """A model folder is none, is damaged, or may not be used the way it was asked for."""


class StudyError(HRNNError):
    """A study is unknown, or what it is asked to do contradicts what it recorded."""


class RunFailedError(HRNNError):
    """Valid input, but the run itself could not finish (diverged, out of memory, storage gone)."""

    exit_code = 1


def counted(n: int, noun: str, several: str | None = None) -> str:
    """Return a number with its noun, `several` or the noun with an s unless it is 1.

    >>> counted(1, "test user"), counted(1234, "test user"), counted(2, "study", "studies")
    ('1 test user', '1,234 test users', '2 studies')
    """
    return f"{n:,} {noun if n == 1 else several or f'{noun}s'}"
