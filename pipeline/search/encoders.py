"""Trials of a search for settings of encoders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.experiments.adding import check_scans, check_shared_core
from pipeline.search.file import SearchSettings
from pipeline.search.proposals import Trial
from pipeline.search.trials import Trials, first_point
from pipeline.workers.queues import Wanted
from predictive_model.search_space import Choices
from schemas import encoding, experiment
from schemas.base import now
from schemas.search import SearchResult, SearchTrial


class EncoderTrials(Trials[SearchSettings]):
    """Each trial is a row that is computed; its weights are not kept."""

    def _wanted(self) -> list[Wanted]:
        return [Wanted(SearchResult(), (SearchTrial & {"search": self.name},))]

    def check(self) -> Sequence[str]:
        """Scans, if they have what the encoders of the space need."""
        for point in self._kinds_of_encoders():
            plain = self.settings.experiment_at(point)
            check_scans(plain)
        check_shared_core(plain)
        return self.settings.recordings

    def _kinds_of_encoders(self) -> list[dict[str, Any]]:
        """Points that have each of what a space may ask of a scan, to be asked before a trial."""
        first = first_point(self.settings)
        found = {}
        for name, dimension in self.settings.space.items():
            for value in dimension.choices if isinstance(dimension, Choices) else [dimension.low]:
                point = first | {name: value}
                encoder = self.settings.experiment_at(point).encoder
                needs = (
                    encoder.shifter is None,
                    encoder.modulator is None,
                    encoder.behaviour_channels,
                )
                found[needs] = point
        return list(found.values())

    def insert(self, number: int, parameters: Mapping[str, Any]) -> None:
        """Plan a fit."""
        planned = self.settings.experiment_at(parameters)
        scans = planned.recordings if planned.share_core else ()
        experiment.Seed.insert1({"seed": planned.encoder_seed}, skip_duplicates=True)
        SearchTrial.insert1(
            {
                "search": self.name,
                "number": number,
                "parameters": parameters,
                "encoder_hash": encoding.EncoderConfig.add(planned.encoder),
                "fit_hash": encoding.FitConfig.add(planned.fit, scans),
                "seed": planned.encoder_seed,
                "proposed": now(),
            }
        )

    def found(self) -> list[Trial]:
        """All trials, by number."""
        key, table = {"search": self.name}, SearchResult()
        jobs = {
            job["number"]: job
            for job in (table.jobs & key).proj("status", "error_message").to_dicts()
        }
        columns = ("state", "n_epochs", "seconds", "message")
        results = (table & key).proj(*columns, score="validation_correlation").to_dicts()
        done = {row["number"]: row for row in results}
        found = []
        for row in (SearchTrial & key).proj("parameters").to_dicts(order_by="number"):
            # The database keeps no order of names.
            number, parameters = row["number"], dict(sorted(row["parameters"].items()))
            if number in done:
                outcome = {column: done[number][column] for column in (*columns, "score")}
            else:
                job = jobs.get(number, {"status": "pending"})
                status = {"reserved": "running", "error": "error"}.get(job["status"], "waiting")
                # A worker that was told to stop leaves what it was told behind as its error.
                said = job.get("error_message") if status == "error" else None
                outcome = {"state": status, "message": said or ""}
            found.append(Trial(number=number, parameters=parameters, **outcome))
        return found
