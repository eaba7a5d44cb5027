"""Search for settings that do best on validation data. Its trials are rows of the database."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from pipeline.search.encoders import EncoderTrials
from pipeline.search.file import (
    AnySearch,
    SearchError,
    SearchSettings,
    experiment_file,
    search_of,
    toml_value,
)
from pipeline.search.networks import NetworkTrials, tested
from pipeline.search.proposals import Trial, propose
from pipeline.search.trials import Trials
from pipeline.workers.populate import (
    WAIT,
    PopulateResult,
    others_at_work,
    populate_table,
    working,
)
from pipeline.workers.queues import Progress
from predictive_model.recordings.recording import check_name
from schemas import base, checkpoints, recording
from schemas.base import now as _now
from schemas.search import Search

# -- planning and computing --------------------------------------------------------------------


def add_search(settings: AnySearch, *, name: str) -> bool:
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
        If a scan or an image set is missing, or lacks what the space needs.
    """
    base.require_active()
    check_name(name)
    described = settings.model_dump(mode="json")
    present = (Search & {"search": name}).to_dicts()
    if present:
        if search_of(present[0]["settings"]) == settings:
            return False
        raise SearchError(
            f"search {name!r} is in the database with other settings; give this one another name "
            "with --name"
        )
    scans = _trials(name, settings).check()
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
        Search.Recording.insert([{"search": name, "scan": scan} for scan in scans])
    return True


def _trials(name: str, settings: AnySearch | None = None) -> Trials[Any]:
    """Trials of a search, by default of one that the database has."""
    settings = search_settings(name) if settings is None else settings
    if isinstance(settings, SearchSettings):
        return EncoderTrials(name, settings)
    return NetworkTrials(name, settings)


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
    search = _trials(name)
    shown = {trial.number for trial in search.found() if trial.n_epochs is not None}

    def report(progress: Progress | None = None) -> None:
        for trial in search.found():
            if trial.n_epochs is not None and trial.number not in shown:
                shown.add(trial.number)
                on_trial(trial)

    _retry(search)
    with working() as lease:
        while keep_going():
            result = PopulateResult()
            for one in search.wanted:
                populate_table(one, result, report, keep_going, lease)
            computed = sum(result.computed.values())
            if computed:
                done = [type(one.table) for one in search.wanted]
                checkpoints.remove_finished_checkpoints(done)
            _raise_for_others(search, result)
            if _propose_next(search, n_trials) or computed:
                continue
            if not others_at_work(search.wanted):
                report()  # what others finished last
                break
            time.sleep(WAIT)


def _raise_for_others(search: Trials[Any], result: PopulateResult) -> None:
    """Raise a SearchError for what failed by something else than the settings that were tried."""
    for failure in result.failures:
        if not search.is_own_failure(failure.message):
            trial = failure.key.get("number")
            raise SearchError(
                f"{failure.table if trial is None else f'trial {trial}'}: "
                f"{failure.message.splitlines()[0]}; fix the cause, then run the search again: it "
                "resumes this trial"
            )


def _retry(search: Trials[Any]) -> None:
    """Make pending again what something else than the settings kept from ending."""
    for one in search.wanted:
        failed = one.jobs & "status = 'error'"
        for message in search.own_failures:
            failed = failed & f"error_message NOT LIKE '{message}%%'"
        one.table.connection.query(
            f"UPDATE {one.table.jobs.full_table_name} SET status = 'pending'{failed.where_clause()}"
        )


def _propose_next(search: Trials[Any], n_trials: int) -> bool:
    """Insert the next trial; False if there are enough, or if it has to wait.

    Of workers that do this at once one gets the number, and the others are to look again.
    """
    trials = search.found()
    if len(trials) >= n_trials or not search.has_room(trials):
        return False
    # Numbers have gaps where trials were deleted.
    number = min(set(range(len(trials) + 1)) - {trial.number for trial in trials})
    parameters = propose(search.settings, trials, number)
    try:
        with base.transaction(Search.connection):
            search.insert(number, parameters)
    except base.dj.errors.DuplicateError:
        pass  # another worker was quicker
    return True


# -- results -----------------------------------------------------------------------------------


def search_settings(name: str) -> AnySearch:
    """Settings of a search; LookupError if there is none of this name."""
    base.require_active()
    found = (Search & {"search": name}).to_dicts()
    if not found:
        known = sorted(Search.to_arrays("search"))
        raise LookupError(
            f"search {name!r} is not in the database, which has {', '.join(known) or 'none'}"
        )
    return search_of(found[0]["settings"])


def trials_of(name: str) -> list[Trial]:
    """All trials of a search, by number."""
    return _trials(name).found()


def trials(name: str) -> pd.DataFrame:
    """One row per trial, the best first; those that did not complete come last.

    Returns
    -------
    DataFrame
        A column for each setting that is searched. ``validation_correlation`` is of single trials,
        mean over neurons, ``validation_accuracy`` of validation images, mean over seeds and, if so
        asked, levels of noise; having been selected by, the best of either promises too much.
    """
    settings = search_settings(name)
    found = sorted(trials_of(name), key=_rank)
    simulated = _simulated(name)
    rows = [
        {
            "number": trial.number,
            "simulated": simulated,
            "state": trial.state,
            settings.measure: trial.score,
            **{name: _cell(value) for name, value in trial.parameters.items()},
            "n_epochs": trial.n_epochs,
            "seconds": trial.seconds,
            "message": trial.message,
        }
        for trial in found
    ]
    columns = ["number", "simulated", "state", settings.measure, *sorted(settings.space)]
    frame = pd.DataFrame(rows, columns=[*columns, "n_epochs", "seconds", "message"])
    return frame.astype({settings.measure: float, "n_epochs": "Int64", "seconds": float})


def _rank(trial: Trial) -> tuple[bool, float, int]:
    value = trial.score
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
        row["best"] = max((t.score or 0.0 for t in done), default=None)
        rows.append(row)
    columns = ["search", "title", "n_trials", "n_complete", "best", "added"]
    return pd.DataFrame(rows, columns=columns)


def best_trial(name: str) -> Trial:
    """The completed trial that did best on the validation data; of equals the first.

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
    """An experiment file that computes the winner anew, and its scores on test data.

    Raises
    ------
    LookupError
        As :func:`best_trial`.
    """
    settings, best = search_settings(name), best_trial(name)
    n = sum(trial.n_epochs is not None for trial in trials_of(name))
    chosen = settings.experiment_at(best.parameters)
    chosen = chosen.model_copy(update={"title": f"{settings.title[:200]}: the best of {n} trials"})
    measure, unseen = settings.measure.replace("_", " "), "the test tier was not looked at"
    if not isinstance(settings, SearchSettings):
        chosen, unseen = tested(chosen, best.parameters), "the test images decided nothing"
    said = caveat(name)
    note = f" ({said})" if said else ""
    return experiment_file(
        chosen,
        f"Trial {best.number} of search {name!r}, the best of {n}: {measure} "
        f"{best.score:.4f}{note}.\n{pasted(best)}"
        f"It was selected by this number; {unseen}.",
    )


def pasted(trial: Trial) -> str:
    """Settings of a trial, a line for each, as an experiment file has them."""
    return "".join(f"  {key} = {toml_value(value)}\n" for key, value in trial.parameters.items())
