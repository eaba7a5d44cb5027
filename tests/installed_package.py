"""A package of somebody else's, installed for a test: a module, and what pip writes beside it."""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from predictive_model import parts


@contextmanager
def installed_package(
    folder: Path, module: str, code: str, offers: Mapping[str, str], *, version: str = "1.2"
) -> Iterator[Path]:
    """Install a distribution with one module of this code.

    Parameters
    ----------
    folder : Path
    module : str
        The distribution has its name, with dashes.
    code : str
    offers : mapping of str to str
        Lines of an entry point each, ``name = module:object``, by group.
    version : str

    Yields
    ------
    Path
        The module's file.
    """
    file = folder / f"{module}.py"
    file.write_text(code)
    information = folder / f"{module}-{version}.dist-info"
    information.mkdir()
    name = module.replace("_", "-")
    (information / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    )
    (information / "entry_points.txt").write_text(
        "".join(f"[{group}]\n{lines}\n" for group, lines in offers.items())
    )
    (information / "RECORD").write_text(f"{module}.py,,\n{information.name}/METADATA,,\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        # What is installed is looked through once, so anew for this test and after it.
        for cached in ("installed", "_owners"):
            patch.setattr(
                parts, cached, functools.cache(getattr(parts, cached).__wrapped__), raising=True
            )
        try:
            yield file
        finally:
            sys.modules.pop(module, None)
