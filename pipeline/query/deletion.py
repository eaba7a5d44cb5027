"""Delete rows with everything that was computed from them, after saying what that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.experiments.selection import Selection
from pipeline.query.provenance import select
from pipeline.query.rows import QueryError, nearest, tables_here
from schemas import base, tables
from schemas.encoding import FitPlan, FittedEncoder, SharedCore
from schemas.evaluation_set import EvaluationSet
from schemas.experiment import Experiment
from schemas.images import LabelSet
from schemas.imported_network import ImportedNetwork
from schemas.psychophysics import Psychophysics
from schemas.recording import Scan, StimulusName, StimulusSet
from schemas.soft_labels import SoftLabels
from schemas.teacher_plan import ScanGroup, TeacherPlan
from schemas.teaching import Rsm
from schemas.training import ImageSet, TrainedNetwork, TrainingConfig, TrainingPlan


@dataclass(frozen=True)
class Affected:
    """Rows of a table that a deletion takes along.

    Attributes
    ----------
    table : str
    rows : int
    seconds : float
        That their computation took.
    """

    table: str
    rows: int
    seconds: float


@dataclass(frozen=True)
class Deletion:
    """Rows to delete, each query with all that depends on it.

    Queries name the keys: DataJoint cannot follow a subquery from a part to its master.
    """

    queries: tuple[Any, ...]

    def affected(self) -> list[Affected]:
        """What would go, by table."""
        names = {table.sql: name for name, table in tables_here().items()}
        touched: dict[str, Any] = {}
        conditions: dict[str, list[str]] = {}  # of which a row need meet one
        for query in self.queries:
            for rows in base.dj.Diagram.cascade(query, part_integrity="cascade"):
                touched[rows.full_table_name] = rows
                where = rows.where_clause().removeprefix(" WHERE ") or "TRUE"
                conditions.setdefault(rows.full_table_name, []).append(f"({where})")
        found = []
        for name, rows in touched.items():
            # A table of a person's own need not say how long it took.
            spent = "SUM(seconds)" if "git_commit" in rows.heading.names else "0"
            n, seconds = rows.connection.query(
                f"SELECT COUNT(*), {spent} FROM {rows.from_clause()} "
                f"WHERE {' OR '.join(conditions[name])}"
            ).fetchone()
            if n:
                found.append(Affected(names.get(name, name), int(n), float(seconds or 0)))
        return found

    def execute(self) -> None:
        """Delete, all or nothing; objects in the store are left to `neuroteach database check`."""
        with base.transaction(base.schema.connection):
            for query in self.queries:
                query.delete(transaction=False, prompt=False, part_integrity="cascade")
        for table in tables.queued_tables():
            tables.forget_vanished(table())


def of_scan(name: str) -> Deletion:
    """A scan, its encoders, and what was made of these."""
    return Deletion((_named(Scan, "scan", name),))


def of_encoder(scan: str, selection: Selection) -> Deletion:
    """The encoders of a scan, or those that experiments ask for."""
    encoders = selection.of(_named(Scan, "scan", scan) * FittedEncoder.proj(), FitPlan)
    keys = encoders.proj().keys()
    if not keys:
        raise LookupError(f"scan: {scan} has no such encoder")
    return Deletion((FittedEncoder & keys,))


def of_images(name: str) -> Deletion:
    """An image set, and all networks that were trained on it."""
    return Deletion((_named(ImageSet, "image_set", name),))


def of_evaluation_set(name: str) -> Deletion:
    """An evaluation set, and what networks answered to it."""
    return Deletion((_named(EvaluationSet, "evaluation_set", name),))


def of_trials(name: str) -> Deletion:
    """Trials of people, by the name that they were imported by."""
    return Deletion((_named(Psychophysics, "psychophysics", name),))


def of_soft_labels(image_set: str) -> Deletion:
    """People's answers to the test images of a set, and what was measured by them."""
    return Deletion((_named(SoftLabels, "image_set", image_set),))


def of_labels(image_set: str, name: str) -> Deletion:
    """A label set, and the networks that learned it."""
    this = _named(LabelSet & {"image_set": image_set}, "label_set", name)
    networks = (TrainedNetwork & (TrainedNetwork.Labels & this.proj()).proj()).keys()
    return Deletion((*([TrainedNetwork & networks] if networks else []), this))


def of_stimuli(name: str) -> Deletion:
    """A stimulus set by its name or key, with scans that showed it and what was predicted to it."""
    key = StimulusName.key_of(name)
    if key is None:
        names = sorted(StimulusName.to_arrays("stimuli"))
        raise LookupError(f"stimuli: {name} is not in the database; {nearest(name, names)}")
    shown = Scan & {"stimulus_set": key}
    return Deletion((*([shown] if shown else []), StimulusSet & {"stimulus_set": key}))


def of_rsm(name: str) -> Deletion:
    """A similarity matrix that was given, and its teachers."""
    return Deletion((_named(Rsm, "rsm", name),))


def of_imported_network(name: str) -> Deletion:
    """A network that others trained, what was evaluated of it, and all plans to do so."""
    keys = _named(ImportedNetwork, "imported_network", name).keys()
    return Deletion((TrainingConfig & keys,))


def of_networks(where: Sequence[str]) -> Deletion:
    """Networks that conditions select, with what was evaluated of them.

    Raises
    ------
    QueryError
        If there is no condition, or none meets them.
    """
    if not where:
        raise QueryError("network: say which, by conditions such as 'teacher=none' 'seed=0'")
    return Deletion((TrainedNetwork & select(TrainedNetwork.__name__, where),))


def of_experiment(name: str, scale: str) -> Deletion:
    """An experiment, with networks and encoders that no other experiment asks for or builds on."""
    this = Experiment & Selection(name, scale).named

    def asked_for(table: Any, plan: Any) -> Any:
        return (table & (plan & this).proj()) - (plan - this.proj()).proj()

    taught_others = ScanGroup.Member & (TeacherPlan - this.proj()).proj()
    networks = asked_for(TrainedNetwork, TrainingPlan).keys()
    encoders = (asked_for(FittedEncoder, FitPlan) - taught_others.proj()).keys()
    kept = FittedEncoder.proj() - encoders
    cores = (asked_for(SharedCore, FitPlan) - kept).keys()
    own = ((TrainedNetwork, networks), (FittedEncoder, encoders), (SharedCore, cores))
    return Deletion((*(table & keys for table, keys in own if keys), this))


def _named(table: Any, column: str, name: str) -> Any:
    query = table & {column: name}
    if not query:
        known = [str(value) for value in table.to_arrays(column)]
        raise LookupError(f"{column}: {name} is not in the database; {nearest(name, known)}")
    return query
