"""A laboratory's settings of DataJoint: meant for tables of its own, and kept out of ours."""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import ValidationError

# DataJoint 2.3 takes these for settings of its own, though they may be anybody's.
_ANYBODYS = {"CHARSET", "DEFAULT", "LIMIT", "SHOW_TUPLE_COUNT", "WIDTH"}


@contextmanager
def without_variables_of_datajoint(*, anybodys_only: bool = False) -> Iterator[None]:
    """Within it nothing in the environment says how DataJoint has to work.

    ``DJ_HOST``, ``DJ_STORES`` and their kin are meant for other tables than ours.
    """
    names = [n for n in os.environ if n.upper() in _ANYBODYS]
    if not anybodys_only:
        names += [n for n in os.environ if n.upper().startswith("DJ_")]
    theirs = {name: os.environ.pop(name) for name in names}
    try:
        yield
    finally:
        os.environ.update(theirs)


def import_datajoint() -> None:
    """Import DataJoint as the laboratory has set it up, or as it comes where that is not possible.

    Our tables need nothing of it: each of our connections has settings of its own.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "No datajoint.json found")  # nor is one needed
        warnings.filterwarnings("ignore", "datajoint.migrate is deprecated")
        try:
            with without_variables_of_datajoint(anybodys_only=True):
                importlib.import_module("datajoint")
            return
        except (ValueError, OSError) as error:
            reason = _described(error)
        for name in [n for n in sys.modules if n.partition(".")[0] == "datajoint"]:
            del sys.modules[name]
        with without_variables_of_datajoint():
            os.environ["DJ_IGNORE_CONFIG_FILE"] = "true"
            try:
                importlib.import_module("datajoint")
            finally:
                del os.environ["DJ_IGNORE_CONFIG_FILE"]
    warnings.warn(
        f"{reason}; DataJoint has its defaults now, as though no variable DJ_* and no "
        "datajoint.json were there. neuroteach needs none of them; for tables of your own mend "
        "or unset what is named here, and start Python again",
        stacklevel=2,
    )


def _described(error: Exception) -> str:
    """Which variable DataJoint cannot read, what it holds and what is expected."""
    if isinstance(error, ValidationError):
        wrong = error.errors(include_url=False)[0]
        name = str(wrong["loc"][-1]).upper()
        name = name if name.startswith("DJ_") else f"DJ_{name}"
        return f"{name}={wrong['input']!r}: DataJoint says {wrong['msg']!r}"
    return f"settings of DataJoint cannot be read ({' '.join(str(error).split())})"
