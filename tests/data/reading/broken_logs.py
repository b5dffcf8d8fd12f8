"""Broken and strange logs, each with a name, from the files beside this one."""

from broken_files import FILES
from broken_kinds import KINDS
from broken_rows import ROWS
from broken_siblings import SIBLINGS

BROKEN = [*FILES, *ROWS, *KINDS, *SIBLINGS]
