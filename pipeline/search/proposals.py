"""Which settings a search tries next: Optuna's sampler, told anew each time what is known."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import optuna

from pipeline.search.file import Searched
from predictive_model.search_space import Choices, Range, is_whole

State = Literal["complete", "pruned", "failed", "running", "waiting", "error"]


@dataclass(frozen=True)
class Trial:
    """One trial of a search.

    Attributes
    ----------
    number : int
    state : str
        ``complete``, ``pruned`` or ``failed``; ``running``; ``waiting`` for a worker; or ``error``
        where something else than its settings was in the way.
    parameters : dict
        Values by dotted names.
    score : float or None
        What trials of its search are ranked by: the validation correlation of encoders, see
        :class:`~predictive_model.fits.search_trial.TrialOutcome`, or the validation accuracy of
        networks.
    n_epochs : int or None
    seconds : float or None
    message : str
        What went wrong.
    """

    number: int
    state: State
    parameters: dict[str, Any]
    score: float | None = None
    n_epochs: int | None = None
    seconds: float | None = None
    message: str = ""


def propose(settings: Searched, trials: Sequence[Trial], number: int) -> dict[str, Any]:
    """Parameters of a trial, from all that is known of the others.

    The same for the same settings, trials and number: by the tree-structured Parzen estimator of
    Bergstra et al. 2011, as Optuna has it, with a seed of its own for each trial.

    Parameters
    ----------
    settings : Searched
    trials : sequence of Trial
        Those that are not finished are counted as bad, to keep away from them.
    number : int
        Of the new trial.
    """
    names = sorted(settings.space)  # of their order in the file the database keeps nothing
    distributions = {name: _distribution(name, settings) for name in names}
    seed = np.random.SeedSequence([settings.sampler_seed, number]).generate_state(1)[0]
    sampler = optuna.samplers.TPESampler(
        n_startup_trials=settings.random_trials,
        multivariate=True,
        constant_liar=True,
        seed=int(seed),
    )
    told_nothing = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # it reports each study that is made
    try:
        study = optuna.create_study(direction="maximize", sampler=sampler)
    finally:
        optuna.logging.set_verbosity(told_nothing)
    for trial in sorted(trials, key=lambda t: t.number):
        study.add_trial(_told(trial, settings, distributions))
    drawn = study.ask(distributions).params
    return {name: _from_optuna(settings.space[name], drawn[name]) for name in names}


def _distribution(name: str, settings: Searched) -> Any:
    dimension = settings.space[name]
    if isinstance(dimension, Choices):
        # As text: of values Optuna takes scalars only, and holds 1, 1.0 and true for the same.
        return optuna.distributions.CategoricalDistribution([as_text(c) for c in dimension.choices])
    low, high, step = dimension.low, dimension.high, dimension.step
    if is_whole(name, settings.roots):
        return optuna.distributions.IntDistribution(
            int(low), int(high), log=dimension.log, step=1 if step is None else int(step)
        )
    return optuna.distributions.FloatDistribution(
        float(low), float(high), log=dimension.log, step=None if step is None else float(step)
    )


def as_text(choice: Any) -> str:
    """A choice as JSON, the same for the same choice."""
    return json.dumps(choice, sort_keys=True)


def _from_optuna(dimension: Choices | Range, value: Any) -> Any:
    return json.loads(value) if isinstance(dimension, Choices) else value


def _told(trial: Trial, settings: Searched, distributions: Mapping[str, Any]) -> Any:
    """A trial as Optuna knows it.

    Trials that Optuna is told failed it leaves out of account, and would propose their like again.
    Ours failed by their settings, which makes them the worst of all: pruned before the first epoch.
    """
    states = optuna.trial.TrialState
    state = {"complete": states.COMPLETE, "pruned": states.PRUNED, "failed": states.PRUNED}
    complete, pruned = trial.state == "complete", trial.state == "pruned"
    return optuna.trial.create_trial(
        state=state.get(trial.state, states.RUNNING),
        params={
            name: as_text(value) if isinstance(settings.space[name], Choices) else value
            for name, value in trial.parameters.items()
        },
        distributions=dict(distributions),
        value=trial.score if complete else None,
        intermediate_values=(
            {trial.n_epochs: trial.score} if pruned else None  # type: ignore[dict-item]
        ),
    )
