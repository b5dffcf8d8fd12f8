"""A confirmation's run: a configuration of the search trained again, with the seed and the split of its run.

So is a screening's, but the users that judge the confirmation have no part in it.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from optuna.exceptions import TrialPruned
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial

from hrnn_hpo.config import Configuration
from hrnn_hpo.experiment import Experiment, ExperimentResult, evaluate_model, prepare_experiment
from hrnn_hpo.study.attributes import (
    CANDIDATE,
    CONFIGURATION,
    FIGURES,
    ROLE,
    TRAIN_SEED,
)
from hrnn_hpo.study.confirm.agenda import SCREENING
from hrnn_hpo.study.confirm.figures import as_text, judged_part, user_figures
from hrnn_hpo.study.confirm.runs import queue_due
from hrnn_hpo.study.run.loop import Loop
from hrnn_hpo.study.run.trial import Objective
from hrnn_hpo.study.seeds import judging_seeds
from hrnn_hpo.study.storage.stale_trials import is_lost
from hrnn_hpo.study.trials import count_trials, last_attempts


@dataclass
class ConfirmObjective(Objective):
    """Trains a configuration of the search again, with the seed and the split of its run; keeps its users' figures.

    Where users are held back, the search's validation users say when to stop and the held-back ones how good it is.
    """

    role: ClassVar[str] = "confirm"

    def _ask(self, trial: Trial) -> Configuration:
        if CANDIDATE not in trial.user_attrs:  # a worker of another machine took the last queued run
            raise TrialPruned("nothing is queued any more")
        return Configuration.model_validate({**trial.user_attrs[CONFIGURATION], "n_threads": self.context.n_threads})

    def _experiment(self, trial: FrozenTrial, configuration: Configuration) -> Experiment:
        record, train_seed = self.context.record, trial.user_attrs[TRAIN_SEED]
        judges = judging_seeds(record.seed) if trial.user_attrs[ROLE] == SCREENING else ()
        return prepare_experiment(
            self.context.dataset, configuration, record.seen, train_seed=train_seed, apart_from=judges
        )

    def _judged(self, trial: FrozenTrial, experiment: Experiment, result: ExperimentResult) -> ExperimentResult:
        if experiment.split.held_back is None or trial.user_attrs[ROLE] == SCREENING:
            return result
        part, extra_metrics = judged_part(experiment), self.context.extra_metrics
        return replace(
            result, metrics=evaluate_model(result.model, experiment, part, extra_metrics=extra_metrics).metrics
        )

    def _keep(self, trial: Trial, experiment: Experiment, result: ExperimentResult, folder: Path) -> None:
        if trial.user_attrs[ROLE] == SCREENING:
            return
        users, figures = user_figures(experiment, result, self.context.record.objective, self.context.extra_metrics)
        trial.set_user_attr(FIGURES, {"users": as_text(users), "figures": as_text(figures)})


class ConfirmLoop(Loop):
    """Runs what is queued in a companion study, and waits for what others run.

    They may still lose it, and the last run of a screening's round asks for those of the next one.
    """

    def _has_room(self) -> bool | None:
        queue_due(self._study, self._storage)
        counts = count_trials(self._study.get_trials(deepcopy=False))
        if counts.waiting:
            return True
        if counts.running or any(is_lost(run) for run in last_attempts(self._study)):
            return None
        self._control.stop("all confirmation runs are done")
        return False

    def _after_trial(self, study: Study, trial: FrozenTrial) -> None:
        if CANDIDATE in trial.user_attrs:
            super()._after_trial(study, trial)
        else:
            self._release()
            if not self._may_start():
                study.stop()
