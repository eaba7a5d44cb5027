"""Answers of networks to the very images that people saw, beside what people answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from regularized_training.behaviour.consistency import right_by_image
from regularized_training.behaviour.trials import Trials, TrialsError, is_person


def condition_shown(
    trials: Trials,
    names: Sequence[str],
    categories: Sequence[str],
    condition: str | None = None,
) -> str:
    """In which condition of an experiment images were shown, once it is sure that they were.

    Parameters
    ----------
    trials : Trials
    names : sequence of str
        Of the images, each once.
    categories : sequence of str
        That each shows.
    condition : str, optional
        The only one, if there is one.

    Raises
    ------
    TrialsError
        If there is no such condition, or several and none is given, if an image has no name or was
        shown to nobody, or shows another category than trials say.
    """
    if not names:
        raise TrialsError(
            "images: have no names, by which answers to them are found; import the set again from "
            "its folder or archive, which adds them"
        )
    if condition is None and len(trials.conditions) > 1:
        raise TrialsError(
            f"condition: not given, and {trials.experiment} has {', '.join(trials.conditions)}; "
            "say in which of them these images were shown"
        )
    condition = trials.conditions[0] if condition is None else condition
    if condition not in trials.conditions:
        raise TrialsError(
            f"condition: {condition!r}, expected one of {', '.join(trials.conditions)} of "
            f"{trials.experiment}"
        )
    there = trials.condition == condition
    shown = dict(zip(trials.image[there].tolist(), trials.category[there].tolist(), strict=True))
    if missing := [name for name in names if name not in shown]:
        example = next(iter(shown))
        raise TrialsError(
            f"images: {len(missing)} of {len(names)}, such as {missing[0]!r}, were shown to nobody "
            f"in condition {condition} of {trials.experiment}, whose images have names such as "
            f"{example!r}; give the images that were shown, by the same names"
        )
    for name, category in zip(names, categories, strict=True):
        if shown[name] != category:
            raise TrialsError(
                f"images: {name!r} is labelled {category!r}, but shows {shown[name]!r} by the "
                f"trials of {trials.experiment}; give the pictures of these trials, in folders "
                "named for their categories"
            )
    return condition


def on_images(trials: Trials, condition: str, names: Sequence[str]) -> Trials:
    """The trials of some images in one condition.

    Raises
    ------
    TrialsError
        If there is none.
    """
    chosen = (trials.condition == condition) & np.isin(trials.image, np.asarray(names, np.str_))
    return trials.where(chosen)


def as_trials(
    experiment: str,
    answers: Mapping[str, NDArray[np.integer]],
    names: Sequence[str],
    categories: Sequence[str],
    label_names: Sequence[str],
    condition: str = "0",
) -> Trials:
    """Trials of networks, by what each answered to the images of an evaluation set.

    Parameters
    ----------
    experiment : str
    answers : mapping of str to (image,) int
        Index into `label_names`, by the network's name, which is not that of a person.
    names : sequence of str
        Of the images.
    categories : sequence of str
        That each shows.
    label_names : sequence of str
        All of them categories of :class:`Trials`.
    condition : str

    Raises
    ------
    TrialsError
        If a network did not answer to each image, or has the name of a person.

    Examples
    --------
    >>> trials = as_trials("demo", {"ours": np.array([0, 0])}, ["a", "b"], ["cat", "dog"],
    ...                    ["cat", "dog"])
    >>> trials.correct
    array([ True, False])
    """
    if not answers or not names:
        raise TrialsError(
            f"{experiment}: {len(answers)} networks and {len(names)} named images, expected one or "
            "more of both"
        )
    given = []
    for network, values in answers.items():
        if is_person(network):
            raise TrialsError(f"{experiment}: a network is called {network!r}, as people are")
        if values.shape != (len(names),):
            raise TrialsError(
                f"{experiment}: {network} has answers of shape {values.shape} to {len(names)} "
                "images, expected one to each; test it on this set"
            )
        given.append(np.asarray(label_names, np.str_)[values])
    n, each = len(answers), len(names)
    return Trials(
        experiment,
        observer=np.repeat(np.array(list(answers), np.str_), each),
        session=np.ones(n * each, np.int64),
        number=np.tile(np.arange(1, each + 1), n),
        condition=np.full(n * each, condition),
        image=np.tile(np.asarray(names, np.str_), n),
        category=np.tile(np.asarray(categories, np.str_), n),
        answer=np.concatenate(given),
        seconds=np.full(n * each, np.nan),
    )


def right_on_images(trials: Trials, names: Sequence[str]) -> NDArray[np.float64]:
    """Whether each observer is right on each image, for :func:`~.consistency.of_every_two`.

    Parameters
    ----------
    trials : Trials
        Of one condition.
    names : sequence of str
        Of the images, each once.

    Returns
    -------
    (observer, image) float64
        Observers in the order of ``trials.observers``; NaN where one did not see an image.

    Raises
    ------
    TrialsError
        If an observer saw an image twice.
    """
    (condition,) = trials.conditions
    seen = right_by_image(trials, condition)
    return seen.reindex(index=list(names), columns=list(trials.observers)).to_numpy().T
