"""Search for settings that predict validation trials best. Its trials are rows of the database."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from pipeline.experiments.adding import check_scans, check_shared_core
from pipeline.experiments.file import ExperimentSettings
from pipeline.search.file import SearchError, SearchSettings, experiment_file
from pipeline.search.proposals import Trial, as_text, propose
from pipeline.workers.populate import (
    WAIT,
    PopulateResult,
    others_at_work,
    populate_table,
    working,
)
from pipeline.workers.queues import Progress, Wanted
from predictive_model.fits.search_space import Choices, Range, configs_at
from predictive_model.recordings.recording import check_name
from schemas import base, checkpoints, encoding, experiment, recording
from schemas.base import now as _now
from schemas.search import Search, SearchResult, SearchTrial

# -- planning and computing --------------------------------------------------------------------


def add_search(settings: SearchSettings, *, name: str) -> bool:
    """Insert a search.

    Returns
    -------
    bool
        False if the very same search was there already.

    Raises
    ------
    SearchError
        If another search has this name.
    ExperimentError
        If a scan is missing, or lacks what an encoder of the space needs.
    """
    base.require_active()
    check_name(name)
    described = settings.model_dump(mode="json")
    present = (Search & {"search": name}).to_dicts()
    if present:
        if present[0]["settings"] == described:
            return False
        raise SearchError(
            f"search {name!r} is in the database with other settings; give this one another name "
            "with --name"
        )
    plain = ExperimentSettings(
        title=settings.title, recordings=settings.recordings, share_core=settings.share_core
    )
    for encoder in _kinds_of_encoders(settings):
        check_scans(plain.model_copy(update={"encoder": encoder}))
    check_shared_core(plain)
    with base.transaction(Search.connection):
        Search.insert1(
            {
                "search": name,
                "title": settings.title,
                "sampler_seed": settings.sampler_seed,
                "settings": described,
                "added": _now(),
            }
        )
        Search.Recording.insert([{"search": name, "scan": scan} for scan in settings.recordings])
    return True


def _kinds_of_encoders(settings: SearchSettings) -> list[Any]:
    """An encoder for each of what a space may ask of a scan, so that it is asked before a trial."""
    found = {}
    for name, dimension in settings.space.items():
        for value in dimension.choices if isinstance(dimension, Choices) else [dimension.low]:
            others = {k: _first(d) for k, d in settings.space.items()}
            encoder, _ = configs_at(others | {name: value}, settings.encoder, settings.fit)
            needs = (encoder.shifter is None, encoder.modulator is None, encoder.behaviour_channels)
            found[needs] = encoder
    return list(found.values())


def _first(dimension: Choices | Range) -> Any:
    return dimension.choices[0] if isinstance(dimension, Choices) else dimension.low


def run_search(
    name: str,
    n_trials: int,
    *,
    on_trial: Callable[[Trial], None] = lambda trial: None,
    keep_going: Callable[[], bool] = lambda: True,
) -> None:
    """Try settings until a search has ``n_trials`` trials, alone or beside other workers.

    A trial that another worker left when it died is resumed first.

    Parameters
    ----------
    name : str
    n_trials : int
        Of the search altogether, not of this call.
    on_trial : callable
        Called with each finished trial, also those of other workers.
    keep_going : callable
        Asked before each trial; False ends the work early.

    Raises
    ------
    LookupError
        If there is no such search.
    SearchError
        If a trial could not be computed for a reason that does not lie in its settings.
    """
    settings = search_settings(name)
    mine = Wanted(SearchResult(), (SearchTrial & {"search": name},))
    shown = {trial.number for trial in trials_of(name) if trial.n_epochs is not None}

    def report(progress: Progress | None = None) -> None:
        for trial in trials_of(name):
            if trial.n_epochs is not None and trial.number not in shown:
                shown.add(trial.number)
                on_trial(trial)

    _retry(mine.table, name)
    with working() as lease:
        while keep_going():
            result = PopulateResult()
            computed = populate_table(mine, result, report, keep_going, lease)
            if computed:
                checkpoints.remove_finished_checkpoints([SearchResult])
            if result.failures:
                failure = result.failures[0]
                raise SearchError(
                    f"trial {failure.key['number']}: {failure.message.splitlines()[0]}; fix the "
                    "cause, then run the search again: it resumes this trial"
                )
            if _propose_next(name, settings, n_trials) or computed:
                continue
            if not others_at_work([mine]):
                report()  # what others finished last
                break
            time.sleep(WAIT)


def _retry(table: Any, name: str) -> None:
    """Make those trials pending again that something else than their settings kept from ending."""
    table.connection.query(
        f"UPDATE {table.jobs.full_table_name} SET status = 'pending' "
        "WHERE status = 'error' AND search = %s",
        (name,),
    )


def _propose_next(name: str, settings: SearchSettings, n_trials: int) -> bool:
    """Insert the next trial; False if there are enough.

    Of workers that do this at once one gets the number, and the others are to look again.
    """
    trials = trials_of(name)
    if len(trials) >= n_trials:
        return False
    # Numbers have gaps where trials were deleted.
    number = min(set(range(len(trials) + 1)) - {trial.number for trial in trials})
    parameters = propose(settings, trials, number)
    encoder, fit = configs_at(parameters, settings.encoder, settings.fit)
    scans = settings.recordings if settings.share_core else ()
    try:
        with base.transaction(SearchTrial.connection):
            experiment.Seed.insert1({"seed": settings.encoder_seed}, skip_duplicates=True)
            SearchTrial.insert1(
                {
                    "search": name,
                    "number": number,
                    "parameters": parameters,
                    "encoder_hash": encoding.EncoderConfig.add(encoder),
                    "fit_hash": encoding.FitConfig.add(fit, scans),
                    "seed": settings.encoder_seed,
                    "proposed": _now(),
                }
            )
    except base.dj.errors.DuplicateError:
        pass  # another worker was quicker
    return True


# -- results -----------------------------------------------------------------------------------


def search_settings(name: str) -> SearchSettings:
    """Settings of a search; LookupError if there is none of this name."""
    base.require_active()
    found = (Search & {"search": name}).to_dicts()
    if not found:
        known = sorted(Search.to_arrays("search"))
        raise LookupError(
            f"search {name!r} is not in the database, which has {', '.join(known) or 'none'}"
        )
    return SearchSettings.model_validate(found[0]["settings"])


def trials_of(name: str) -> list[Trial]:
    """All trials of a search, by number."""
    key = {"search": name}
    table = SearchResult()
    jobs = {
        job["number"]: job for job in (table.jobs & key).proj("status", "error_message").to_dicts()
    }
    columns = ("state", "validation_correlation", "n_epochs", "seconds", "message")
    results = {row["number"]: row for row in (table & key).proj(*columns).to_dicts()}
    found = []
    for row in (SearchTrial & key).proj("parameters").to_dicts(order_by="number"):
        # The database keeps no order of names.
        number, parameters = row["number"], dict(sorted(row["parameters"].items()))
        if number in results:
            outcome = {column: results[number][column] for column in columns}
        else:
            job = jobs.get(number, {"status": "pending"})
            status = {"reserved": "running", "error": "error"}.get(job["status"], "waiting")
            # A worker that was told to stop leaves what it was told behind as its error.
            said = job.get("error_message") if status == "error" else None
            outcome = {"state": status, "message": said or ""}
        found.append(Trial(number=number, parameters=parameters, **outcome))
    return found


def trials(name: str) -> pd.DataFrame:
    """One row per trial, the best first; those that did not complete come last.

    Returns
    -------
    DataFrame
        A column for each setting that is searched. ``validation_correlation`` is of single trials,
        mean over neurons; having been selected by, the best of it promises too much.
    """
    settings = search_settings(name)
    found = sorted(trials_of(name), key=_rank)
    simulated = _simulated(name)
    rows = [
        {
            "number": trial.number,
            "simulated": simulated,
            "state": trial.state,
            "validation_correlation": trial.validation_correlation,
            **{name: _cell(value) for name, value in trial.parameters.items()},
            "n_epochs": trial.n_epochs,
            "seconds": trial.seconds,
            "message": trial.message,
        }
        for trial in found
    ]
    columns = ["number", "simulated", "state", "validation_correlation", *sorted(settings.space)]
    frame = pd.DataFrame(rows, columns=[*columns, "n_epochs", "seconds", "message"])
    return frame.astype({"validation_correlation": float, "n_epochs": "Int64", "seconds": float})


def _rank(trial: Trial) -> tuple[bool, float, int]:
    value = trial.validation_correlation
    return trial.state != "complete", np.inf if value is None else -value, trial.number


def _cell(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return ", ".join(f"{k} {v}" for k, v in sorted(value.items())) or "defaults"


def _simulated(name: str) -> bool:
    scans = recording.Scan & (Search.Recording & {"search": name})
    return bool(any(scans.to_arrays("simulated")))


def caveat(name: str) -> str:
    """What must be said beside every number of a search."""
    return "the brain was simulated" if _simulated(name) else ""


def searches() -> pd.DataFrame:
    """All searches."""
    base.require_active()
    rows = []
    for row in Search.proj("title", "added").to_dicts(order_by="search"):
        found = trials_of(row["search"])
        done = [t for t in found if t.state == "complete"]
        row["n_trials"] = len(found)
        row["n_complete"] = len(done)
        row["best"] = max((t.validation_correlation or 0.0 for t in done), default=None)
        rows.append(row)
    columns = ["search", "title", "n_trials", "n_complete", "best", "added"]
    return pd.DataFrame(rows, columns=columns)


def best_trial(name: str) -> Trial:
    """The completed trial of the highest validation correlation; of equals the first.

    Raises
    ------
    LookupError
        If there is no such search, or none of its trials has completed.
    """
    search_settings(name)
    complete = [trial for trial in trials_of(name) if trial.state == "complete"]
    if not complete:
        raise LookupError(
            f"search {name!r} has no trial that completed; go on with `neuroteach search run`"
        )
    return min(complete, key=_rank)


def best_experiment(name: str) -> str:
    """An experiment file that fits the winner, so that its weights and test scores are computed.

    Raises
    ------
    LookupError
        As :func:`best_trial`.
    """
    settings, best = search_settings(name), best_trial(name)
    encoder, fit = configs_at(best.parameters, settings.encoder, settings.fit)
    n = len(SearchResult & {"search": name})
    chosen = ExperimentSettings(
        title=f"{settings.title[:200]}: the best of {n} trials",
        recordings=settings.recordings,
        share_core=settings.share_core,
        encoder=encoder,
        fit=fit,
        encoder_seed=settings.encoder_seed,
    )
    said = caveat(name)
    note = f" ({said})" if said else ""
    return experiment_file(
        chosen,
        f"Trial {best.number} of search {name!r}, the best of {n}: validation correlation "
        f"{best.validation_correlation:.4f}{note}.\n"
        + "".join(f"  {key} = {as_text(value)}\n" for key, value in best.parameters.items())
        + "It was selected by this number; the test tier was not looked at.",
    )
