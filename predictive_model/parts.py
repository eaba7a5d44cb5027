"""Parts that any package may offer: networks, teachers, lessons, importers, evaluations by name.

A name is one of ours, one that an installed package offers, or ``package.module:function``. A
package offers parts as entry points in its ``pyproject.toml``, in one group for each kind::

    [project.entry-points."neuroteach.networks"]
    mylab_net = "mylab.networks:mylab_net"

Ours are found by such references too, so nothing is imported before it is asked for. Installed
packages are searched once, and only for a name that is not ours.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.metadata
import inspect
import json
import re
import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import unquote, urlsplit

OURS = "neuroteach"
NAME = re.compile(r"[A-Za-z0-9][\w.-]*")
REFERENCE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


class PartError(ValueError):
    """A part that is not installed, cannot be imported, or is not what its kind has to be."""


@dataclass(frozen=True)
class Origin:
    """Whose part it is.

    Attributes
    ----------
    distribution : str
        The installed package it comes from; empty for a module that belongs to none.
    version : str
        Of the distribution.
    digest : str
        First 16 hexadecimal digits of the SHA-256 of the file that defines the part: of a partial,
        and of what is taken over from another package, the file that gives it its name. Empty for
        what has no file of source code. Other files that this one imports do not count.
    """

    distribution: str
    version: str
    digest: str

    def __str__(self) -> str:
        """The distribution and its version, as a package index names them."""
        return f"{self.distribution} {self.version}".strip() or "a module of no package"


@dataclass(frozen=True)
class Part:
    """A part and where it comes from.

    Attributes
    ----------
    name : str
        As it was asked for.
    value : object
        The part itself.
    origin : Origin
    """

    name: str
    value: Any
    origin: Origin


@dataclass(frozen=True)
class Offer:
    """Where a part is to be found.

    Attributes
    ----------
    reference : str
        ``module:object``.
    distribution, version : str
        Of the package that offers it; empty where that is to be found out.
    """

    reference: str
    distribution: str
    version: str


class Registry:
    """All parts of one kind.

    Parameters
    ----------
    kind : str
        In the singular: ``network``. Others' are in the group ``neuroteach.networks``.
    built_in : mapping of str to str
        Our own: ``package.module:object`` by name.
    hint : str
        What else may stand for a name, for messages.
    """

    def __init__(self, kind: str, built_in: Mapping[str, str], *, hint: str = "") -> None:
        self.kind, self.built_in = kind, dict(built_in)
        self.group = f"{OURS}.{kind}s"
        self._forms = f"{hint}or module:function"

    def names(self) -> tuple[str, ...]:
        """Names of all parts that are available: ours, then those of installed packages."""
        return (*self.built_in, *sorted(installed(self.group).keys() - self.built_in.keys()))

    def check_name(self, name: str) -> str:
        """The name, if it has the form of one; whether there is such a part is not looked up.

        Raises
        ------
        ValueError
            If it is neither a name nor ``module:function``.
        """
        if not (NAME.fullmatch(name) or REFERENCE.fullmatch(name)):
            raise ValueError(
                f"{self.kind} {name!r}: expected one of {', '.join(self.built_in)}, the name of an "
                f"installed one, {self._forms}"
            )
        return name

    def require(self, name: str, recorded: Origin | None = None) -> Offer:
        """Where the part with a name is to be found, without importing anything.

        Parameters
        ----------
        name : str
        recorded : Origin, optional
            Where it came from when it was used before, which says what to install if it is
            missing here.

        Raises
        ------
        PartError
            If there is none of this name. Whether a ``module:function`` exists is not known
            before it is imported.
        """
        if name in self.built_in:
            return Offer(self.built_in[name], OURS, _version_of_ours())
        if REFERENCE.fullmatch(name):
            return Offer(name, "", "")
        offered = installed(self.group).get(name, ())
        if not offered:
            whose = f" ({recorded})" if recorded is not None and recorded.distribution else ""
            raise self.error(
                name,
                f"no part of this name is installed; expected one of {', '.join(self.names())}, "
                f"{self._forms}; install the package that it comes from{whose}",
            )
        if len(offered) > 1:
            packages = " and ".join(sorted(offer.distribution for offer in offered))
            raise self.error(
                name,
                f"offered by {packages}; uninstall one of them, or say which by its reference, "
                f"like {offered[0].reference}",
            )
        return offered[0]

    def find(self, name: str, recorded: Origin | None = None) -> Part:
        """Import the part with a name and find out whose it is; arguments as :meth:`require`.

        Raises
        ------
        PartError
            If there is none, or it cannot be imported.
        """
        offer = self.require(name, recorded)
        value, file = self._imported(name, offer.reference)
        if offer.distribution:
            return Part(name, value, Origin(offer.distribution, offer.version, _digest(file)))
        return Part(name, value, origin_of(file, re.split("[.:]", offer.reference)[0]))

    def error(self, name: str, why: str) -> PartError:
        """What is wrong with a part that was found, as an error to raise."""
        return PartError(f"{self.kind} {name!r}: {why}")

    def _imported(self, name: str, reference: str) -> tuple[Any, Path | None]:
        """What a reference leads to, and the file that defines it."""
        module_name, _, path = reference.partition(":")
        try:
            importlib.import_module(module_name)
        except Exception as error:  # a stranger's module may raise anything when it is imported
            absent = error.name if isinstance(error, ModuleNotFoundError) else None
            if absent and f"{module_name}.".startswith(f"{absent}."):
                why = f"there is no module {absent}; install it, or put its folder on PYTHONPATH"
            else:
                why = f"importing {module_name} failed ({type(error).__name__}: {error})"
            raise self.error(name, why) from error
        try:
            value = load(reference)
        except AttributeError as error:
            raise self.error(name, f"module {module_name} has no {path}") from error
        return value, _defining_file(value, sys.modules[module_name])


def load(reference: str) -> Any:
    """An object, by ``package.module:object``, or a module by its name."""
    return importlib.metadata.EntryPoint("", reference, "").load()


@functools.cache
def installed(group: str) -> dict[str, tuple[Offer, ...]]:
    """What installed packages offer in a group, by name; looked for once."""
    found: dict[str, tuple[Offer, ...]] = {}
    for point in importlib.metadata.entry_points(group=group):
        whose = ("", "") if point.dist is None else (point.dist.name, point.dist.version)
        offer = Offer(point.value.partition(" ")[0], *whose)
        found[point.name] = (*found.get(point.name, ()), offer)
    return found


def load_installed(group: str) -> None:
    """Import all that installed packages offer in a group; warn of what fails, and leave it out."""
    for name, offers in installed(group).items():
        for offer in offers:
            try:
                load(offer.reference)
            except Exception as error:  # a stranger's module may raise anything
                warnings.warn(
                    f"{offer.distribution} {offer.version}: its {group} {name!r} is left out, "
                    f"since importing {offer.reference} failed ({type(error).__name__}: {error}); "
                    "repair or uninstall the package",
                    stacklevel=2,
                )


def _defining_file(value: Any, named: ModuleType) -> Path | None:
    """The file that says what a part is which a module has under some name."""
    package = str(getattr(value, "__module__", "")).partition(".")[0]
    # What a partial or an instance is made with, and which object of another package is meant,
    # stands in the module that has it, not where its function or class comes from.
    taken_over = package != named.__name__.partition(".")[0]
    return source_file(named) if taken_over else source_file(value) or source_file(named)


def source_file(value: Any) -> Path | None:
    """The file that defines a module, function or class; None of other objects."""
    if not inspect.ismodule(value):
        if not hasattr(value, "__qualname__"):
            return None
        value = sys.modules.get(inspect.unwrap(value).__module__)
    file = getattr(value, "__file__", None)
    return Path(file) if file and Path(file).is_file() else None


def origin_of(file: Path | None, package: str) -> Origin:
    """Origin of a file that was imported from a top-level package, or as a module on its own."""
    return Origin(*_owner(file, package), _digest(file))


@functools.cache
def _owner(file: Path | None, package: str) -> tuple[str, str]:
    """Name and version of the distribution that a file belongs to; long lists are read for it."""
    for name in dict.fromkeys(_owners().get(package, ())):
        distribution = importlib.metadata.distribution(name)
        if file is not None and _owns(distribution, file.resolve()):
            return distribution.name, distribution.version
    return "", ""


@functools.cache
def _owners() -> Mapping[str, list[str]]:
    return importlib.metadata.packages_distributions()


def _owns(distribution: importlib.metadata.Distribution, file: Path) -> bool:
    """Whether a file was installed by a distribution, or lies in the folder of an editable one.

    Names of packages are not enough: many distributions leave a package ``tests`` behind.
    """
    if any(f.name == file.name and _place(f) == file for f in distribution.files or ()):
        return True
    described = json.loads(distribution.read_text("direct_url.json") or "{}")
    if not described.get("dir_info", {}).get("editable"):
        return False
    return Path(unquote(urlsplit(described["url"]).path)).resolve() in file.parents


def _place(file: importlib.metadata.PackagePath) -> Path:
    return Path(str(file.locate())).resolve()


@functools.cache
def _version_of_ours() -> str:
    try:
        return importlib.metadata.version(OURS)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _digest(file: Path | None) -> str:
    return "" if file is None else hashlib.sha256(file.read_bytes()).hexdigest()[:16]
