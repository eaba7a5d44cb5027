"""Shape bias: do observers go by the shape or by the texture of an image that has both?"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from regularized_training.behaviour.categories import CATEGORIES
from regularized_training.behaviour.trials import Trials, TrialsError, is_person

_NAME = re.compile(r"([a-z]+)\d*-([a-z]+)\d*")


def shape_and_texture(image: str) -> tuple[str, str]:
    """Categories of the shape and of the texture, from the name of a cue-conflict image.

    Raises
    ------
    TrialsError
        If it is no such name.

    Examples
    --------
    >>> shape_and_texture("airplane1-bicycle2")
    ('airplane', 'bicycle')
    """
    found = _NAME.fullmatch(image)
    if found is None:
        raise TrialsError(
            f"image {image!r}, expected a name of shape and texture such as airplane1-bicycle2"
        )
    return found[1], found[2]


def cues_of(
    images: Sequence[str], shapes: Sequence[str], answerable: Sequence[str]
) -> NDArray[np.int64]:
    """Which images have a shape and a texture that can both be answered; none of other images.

    Parameters
    ----------
    images : sequence of str
        Their names.
    shapes : sequence of str
        What each is labelled.
    answerable : sequence of str
        Categories that observers choose among.

    Returns
    -------
    (n,) int64
        Their places, also of those whose cues agree; empty unless all names are those of cue
        conflicts and labels are shapes, and some cues differ.

    Examples
    --------
    >>> cues_of(["cat1-dog2", "cat1-oven2"], ["cat", "cat"], ["cat", "dog"]).tolist()
    [0]
    """
    found = [_NAME.fullmatch(image) for image in images]
    named = [(one[1], one[2]) for one in found if one is not None]
    known = set(CATEGORIES)
    if len(named) < len(images) or not all(set(cues) <= known for cues in named):
        return np.empty(0, np.int64)
    among = set(answerable)
    chosen = [i for i, cues in enumerate(named) if set(cues) <= among]
    if any(named[i][0] != shapes[i] for i in chosen) or all(len(set(named[i])) < 2 for i in chosen):
        return np.empty(0, np.int64)
    return np.array(chosen, np.int64)


def shape_bias(trials: Trials, *, by_shape: bool = False) -> pd.DataFrame:
    """Shape bias of Geirhos et al. 2019: shape decisions / (shape decisions + texture decisions).

    Images whose shape and texture are of one category decide nothing, and are left out, as are
    answers that are neither.

    Parameters
    ----------
    trials : Trials
        Of cue-conflict images.
    by_shape : bool
        A row for each observer and category of the shape, instead of each observer.

    Returns
    -------
    DataFrame
        ``observer``, ``person``, ``n_images`` in conflict, ``n_shape``, ``n_texture`` and
        ``shape_bias``, which is NaN for who decided for neither. A last observer ``people`` is
        all people's decisions together, from which the published .959 comes; the mean of each
        person's own is .9576.

    Raises
    ------
    TrialsError
        If an image's name says neither, or none is in conflict.

    Examples
    --------
    >>> trials = Trials.of("demo", [("vgg", "0", "cat1-dog2", "cat", "dog"),
    ...                             ("vgg", "0", "cat1-car2", "cat", "cat"),
    ...                             ("vgg", "0", "cat1-cat2", "cat", "cat")])
    >>> shape_bias(trials)["shape_bias"].tolist()
    [0.5]
    """
    cues = {image: shape_and_texture(image) for image in set(trials.image.tolist())}
    shape = np.array([cues[image][0] for image in trials.image.tolist()])
    texture = np.array([cues[image][1] for image in trials.image.tolist()])
    frame = pd.DataFrame(
        {
            "observer": trials.observer,
            "shape": shape,
            "n_images": 1,
            "n_shape": trials.answer == shape,
            "n_texture": trials.answer == texture,
        }
    )[_conflict(shape, texture)]
    people = frame[frame["observer"].map(is_person)].assign(observer="people")
    keys = ["observer", "shape"] if by_shape else ["observer"]
    names = [*trials.observers, *(["people"] if len(people) else [])]
    counts = ["n_images", "n_shape", "n_texture"]
    found = pd.concat([frame, people]).groupby(keys)[counts].sum().reset_index()
    found = found.sort_values("observer", key=lambda o: o.map(names.index), kind="stable")
    found.insert(1, "person", [n == "people" or is_person(n) for n in found["observer"]])
    decided = found["n_shape"] + found["n_texture"]
    bias = found["n_shape"] / decided.where(decided > 0)
    return found.assign(shape_bias=bias).reset_index(drop=True)


def _conflict(shape: NDArray[np.str_], texture: NDArray[np.str_]) -> NDArray[np.bool_]:
    conflict: NDArray[np.bool_] = shape != texture
    if not conflict.any():
        raise TrialsError(
            "no image has a shape and a texture of different categories; expected cue-conflict ones"
        )
    return conflict
