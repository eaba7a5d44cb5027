"""What people, and networks beside them, answered to manipulated images."""

from __future__ import annotations

from typing import Any

import datajoint as dj
import numpy as np
from numpy.typing import NDArray

from predictive_model.digest import array_digest, fingerprint
from regularized_training.behaviour.summary import by_observer
from regularized_training.behaviour.trials import Trials, TrialsError
from schemas.base import schema, transaction

ROWS_AT_ONCE = 5000  # in one statement


@schema
class Psychophysics(dj.Manual):
    """An experiment of which the trials of people, and of networks beside them, were imported."""

    definition = """
        psychophysics : varchar(64)
        ---
        manipulation : varchar(64)    # as its files call the experiment
        n_people     : int32
        n_networks   : int32
        n_conditions : int32
        n_trials     : int32
        categories   : json           # among which observers choose
        source       : varchar(255)
        licence = "" : varchar(255)   # what whoever imported it noted of its terms
        digest       : char(64)       # of all trials
    """

    class Observer(dj.Part):
        """Somebody who answered, over all conditions."""

        definition = """
            -> master
            observer : varchar(64)
            ---
            person       : bool         # or a network
            n_answered   : int32
            n_unanswered : int32
            accuracy     : float64      # without an answer it is wrong
            entropy = null : float64    # bits, of the distribution of answers over categories
        """

    class Trial(dj.Part):
        """One image, and what was answered to it."""

        definition = """
            -> master
            observer     : varchar(64)
            session      : int32
            trial_number : int32
            ---
            image_condition : varchar(64)   # how the image was manipulated
            image           : varchar(255)  # the same for all who saw it
            category        : varchar(64)   # that it shows
            answer          : varchar(64)   # na for none
            seconds = null  : float64       # to the answer; none of networks
        """

    @classmethod
    def add(cls, trials: Trials, *, name: str, source: str, licence: str = "") -> bool:
        """Insert an experiment with its trials; False if the very same is there already.

        Raises
        ------
        TrialsError
            If another experiment has this name.
        """
        ordered = trials.where(np.lexsort((trials.number, trials.session, trials.observer)))
        digest = _digest(ordered)
        present = (cls & {"psychophysics": name}).to_arrays("digest")
        if len(present):
            if present[0] == digest:
                return False
            raise TrialsError(
                f"name: the database has other trials named {name!r}; choose another name, or "
                f"`neuroteach delete trials {name}`"
            )
        observers = _observers(ordered)
        n_people = len(ordered.people)
        with transaction(cls.connection):
            cls.insert1(
                dict(
                    psychophysics=name,
                    manipulation=ordered.experiment,
                    n_people=n_people,
                    n_networks=len(observers) - n_people,
                    n_conditions=len(ordered.conditions),
                    n_trials=len(ordered),
                    categories=list(ordered.categories),
                    source=source[:255],
                    licence=licence[:255],
                    digest=digest,
                )
            )
            cls.Observer.insert([{"psychophysics": name, **row} for row in observers])
            rows = [{"psychophysics": name, **row} for row in _rows(ordered)]
            for start in range(0, len(rows), ROWS_AT_ONCE):
                cls.Trial.insert(rows[start : start + ROWS_AT_ONCE])
        return True

    @classmethod
    def load(cls, key: dict[str, Any]) -> Trials:
        """All trials of an experiment."""
        this = cls & {"psychophysics": key["psychophysics"]}
        manipulation, categories = this.fetch1("manipulation", "categories")
        columns = list(_COLUMNS.values())
        found = (cls.Trial & this.proj()).to_arrays(
            *columns, order_by=["observer", "session", "trial_number"]
        )
        values: dict[str, NDArray] = dict(zip(_COLUMNS, found, strict=True))
        seconds = np.array([np.nan if s is None else s for s in values.pop("seconds")], np.float64)
        return Trials(
            experiment=manipulation, categories=tuple(categories), seconds=seconds, **values
        )


# Of trials, by the columns of a row.
_COLUMNS = {
    "observer": "observer",
    "session": "session",
    "number": "trial_number",
    "condition": "image_condition",
    "image": "image",
    "category": "category",
    "answer": "answer",
    "seconds": "seconds",
}


def _rows(trials: Trials) -> list[dict[str, Any]]:
    columns = {_COLUMNS[name]: getattr(trials, name).tolist() for name in _COLUMNS}
    columns["seconds"] = [None if np.isnan(s) else s for s in columns["seconds"]]
    names = list(columns)
    return [dict(zip(names, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _observers(trials: Trials) -> list[dict[str, Any]]:
    """Rows of the observers, over all conditions together."""
    rows = by_observer(trials, by_condition=False).to_dict("records")
    return [
        {
            "observer": row["observer"],
            "person": bool(row["person"]),
            "n_answered": int(row["n_trials"] - row["n_unanswered"]),
            "n_unanswered": int(row["n_unanswered"]),
            "accuracy": float(row["accuracy"]),
            "entropy": None if np.isnan(row["entropy"]) else float(row["entropy"]),
        }
        for row in rows
    ]


def _digest(trials: Trials) -> str:
    # Made anew, as the type of an array of texts says how long the longest may be.
    arrays = [np.array(getattr(trials, name).tolist()) for name in _COLUMNS]
    return fingerprint(
        experiment=trials.experiment, categories=trials.categories, arrays=array_digest(*arrays)
    )
