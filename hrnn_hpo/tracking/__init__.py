"""MLflow behind one small class: runs, parameters, metrics, tags, files, models. The only folder that imports mlflow.

What a study shows of itself is study/track's business; here is how it is stored, found again and served.
"""

from hrnn_hpo.tracking.models import download_model
from hrnn_hpo.tracking.source import git_commit
from hrnn_hpo.tracking.store import EXPERIMENT
from hrnn_hpo.tracking.tracker import Data, Tracker

__all__ = ["EXPERIMENT", "Data", "Tracker", "download_model", "git_commit"]
