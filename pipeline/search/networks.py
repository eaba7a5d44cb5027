"""Trials of a search for settings of networks and of how they are taught."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from pipeline.experiments.adding import add_experiment, check_against_database
from pipeline.experiments.content import ExperimentError
from pipeline.experiments.file import ExperimentSettings
from pipeline.experiments.selection import ALL
from pipeline.results.rows import read_rows
from pipeline.search.file import NetworkSearchSettings, SearchError
from pipeline.search.proposals import Trial
from pipeline.search.trials import Trials, first_point
from pipeline.workers import queues
from pipeline.workers.queues import Wanted
from schemas.base import dj, now
from schemas.evaluations.base import EVALUATIONS
from schemas.experiment import TRIAL, Experiment
from schemas.search import NetworkTrial
from schemas.training import TrainedNetwork, TrainingPlan


class NetworkTrials(Trials[NetworkSearchSettings]):
    """Each trial is an experiment of its own, which workers compute like any other."""

    own_failures = ("TrainingError", "OutOfMemoryError")

    @property
    def _experiment(self) -> dict[str, str]:
        return {"experiment": self.name}

    def _wanted(self) -> list[Wanted]:
        return [
            Wanted(one.table, (type(one.table).planned(self._experiment),))
            for one in queues.wanted(ALL)
        ]

    def check(self) -> Sequence[str]:
        """Scans, if the database has all that the first of the networks needs."""
        if Experiment & self._experiment:
            raise SearchError(
                f"an experiment is called {self.name!r}, as the trials of this search would be; "
                "give the search another name with --name"
            )
        planned = self.settings.experiment_at(first_point(self.settings))
        sources = check_against_database(planned)
        taught = {member["scan"] for members in sources.values() for member in members}
        return [*planned.recordings, *sorted(taught - set(planned.recordings))]

    def insert(self, number: int, parameters: Mapping[str, Any]) -> None:
        """Plan an experiment."""
        scale = f"{TRIAL}{number}"
        planned = self.settings.experiment_at(parameters)
        planned = planned.model_copy(update={"title": f"{planned.title[:200]}: trial {number}"})
        try:
            add_experiment(planned, name=self.name, scale=scale)
        except ExperimentError as error:
            if NetworkTrial & {"search": self.name, "number": number}:
                raise dj.errors.DuplicateError(str(error)) from error
            raise
        row = {"search": self.name, "number": number, "parameters": parameters}
        NetworkTrial.insert1({**row, **self._experiment, "scale": scale, "proposed": now()})

    def has_room(self, trials: Sequence[Trial]) -> bool:
        """Whether each trial that is not finished is being computed.

        Where all wait for the same, such as a teacher that is being made, there would otherwise be
        as many as are wanted before anything is known of one.
        """
        unfinished = [trial for trial in trials if trial.state in ("running", "waiting")]
        return len(unfinished) <= len(queues.reserved(self.wanted))

    def found(self) -> list[Trial]:
        """All trials, by number."""
        columns = ["validation_accuracy", "seconds", "weights_epoch"]
        epochs = TrainedNetwork.Epoch.proj(*columns[:2]) * TrainedNetwork.proj("weights_epoch")
        epochs = read_rows(epochs * TrainingPlan & self._experiment, columns)
        scores, states = self._scores(epochs), self._states()
        spent = epochs.groupby("scale")["seconds"].agg(["sum", "count"])
        found = []
        for row in (NetworkTrial & {"search": self.name}).to_dicts(order_by="number"):
            scale = row["scale"]
            outcome = states.get(scale, {"state": "waiting"})
            if scale in scores:
                outcome = {"state": "complete", "score": scores[scale]}
            if outcome["state"] in ("complete", "failed"):
                seconds, n_epochs = spent.loc[scale] if scale in spent.index else (0.0, 0)
                outcome = {**outcome, "seconds": float(seconds), "n_epochs": int(n_epochs)}
            parameters = dict(sorted(row["parameters"].items()))
            found.append(Trial(number=row["number"], parameters=parameters, **outcome))
        return found

    def _scores(self, epochs: pd.DataFrame) -> dict[str, float]:
        """What trials came to, by their scales; of those alone that have all they ask for."""
        evaluation = EVALUATIONS.get(self.settings.objective)
        if evaluation is not None and evaluation.ranked_by is not None:
            part, value = evaluation.ranked_by
            plan, key = evaluation.Plan, evaluation().primary_key
            rows = read_rows(getattr(evaluation, part) * plan & self._experiment, [value])
            measured = rows.groupby(["scale", *key])[value].mean()
        else:
            plan, key, value = TrainingPlan, TrainedNetwork().primary_key, "validation_accuracy"
            last = epochs["weights_epoch"].isna()  # where no other was kept
            kept = epochs[last | (epochs["epoch"] == epochs["weights_epoch"])]
            measured = kept.sort_values("epoch").groupby(["scale", *key])[value].last()
        asked = read_rows(plan & self._experiment).groupby("scale").size()
        of_trials = measured.groupby("scale").agg(["mean", "count"])
        whole = of_trials[of_trials["count"] == asked.reindex(of_trials.index)]
        return {str(scale): float(mean) for scale, mean in whole["mean"].items()}

    def _states(self) -> dict[str, dict[str, Any]]:
        """Of trials something of which is being computed or has failed, by their scales."""
        plans = {one.name: one.plan for one in self.wanted}
        states: dict[str, dict[str, Any]] = {}
        for job in queues.reserved(self.wanted):
            for scale in self._scales(plans[job.table], job.key):
                states[scale] = {"state": "running"}
        for failure in queues.failures(self.wanted):
            state = "failed" if self.is_own_failure(failure.message) else "error"
            message = failure.message.partition("\n")[0]
            for scale in self._scales(plans[failure.table], failure.key):
                states[scale] = {"state": state, "message": message}
        return states

    def _scales(self, plan: Any, key: Mapping[str, Any]) -> set[str]:
        """Trials that ask for a key; all, where a plan is of no experiment."""
        whole = NetworkTrial & {"search": self.name}
        asking = plan & key if "scale" in plan.heading.names else whole
        return set(asking.to_arrays("scale"))


def tested(planned: ExperimentSettings, parameters: Mapping[str, Any]) -> ExperimentSettings:
    """The experiment of a trial, to be trained on all training images and tested on test images."""
    assert planned.training is not None
    evaluations = {
        name: tuple(one.model_copy(update={"part": "test"}) for one in settings)
        for name, settings in planned.evaluations.items()
    }
    return planned.model_copy(
        update={
            "training": planned.training.model_copy(update={"hold_out_validation": False}),
            "evaluations": evaluations,
            "chosen": {name.rpartition(".")[2]: "validation" for name in parameters},
        }
    )
