"""What images are called, so that answers to the same ones can be put beside each other."""

from __future__ import annotations

import re
from collections.abc import Sequence

# Trial, experiment, observer, condition, category, block, and what was shown.
_IMAGE = re.compile(r"\d+_[^_]+_[^_]+_[^_]+_[^_]+_\d+_(.+)")


def shown_image(name: str) -> str:
    """What a picture's name says was shown, without the trial and observer; else all of it.

    Examples
    --------
    >>> shown_image("0001_cl_s01_cr_oven_40_n04111531_14126.png")
    'n04111531_14126'
    >>> shown_image("0002_s5n_dnn_0_airplane_00_airplane1-chair2.png")
    'airplane1-chair2'
    >>> shown_image("kitchen.jpg")
    'kitchen'
    """
    stem = re.sub(r"\.\w+$", "", name)
    found = _IMAGE.fullmatch(stem)
    return found[1] if found else stem


def names_of(files: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """Names of pictures by their files: of what was shown, or else, where that is not one for each,
    of folder and file.

    Parameters
    ----------
    files : sequence of (folder, file)

    Examples
    --------
    >>> names_of([("cat", "cat1-dog2.png"), ("dog", "dog3-cat1.png")])
    ('cat1-dog2', 'dog3-cat1')
    >>> names_of([("cat", "0001.png"), ("dog", "0001.png")])
    ('cat/0001.png', 'dog/0001.png')
    """
    shown = tuple(shown_image(file) for _, file in files)
    return shown if len(set(shown)) == len(shown) else tuple(map("/".join, files))
