"""Where rows of a tiny experiment come from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.query import rows as query
from pipeline.query.provenance import Node, provenance
from pipeline.query.restriction import QueryError
from regularized_training.alignment.layers import RepresentationConfig
from regularized_training.teachers.config import TeacherConfig
from schemas import base, encoding, recording, teacher_plan, teaching
from schemas import training as trainings
from schemas.evaluations.layers import LayerSimilarity

# What all of them read is computed once, as `filled`.
pytestmark = [
    pytest.mark.database,
    pytest.mark.xdist_group("query"),
    pytest.mark.usefixtures("opened"),
]


def nodes(node: Node) -> list[Node]:
    return [node, *(n for source in node.sources for n in nodes(source))]


def find(tree: Node, table: str) -> list[Node]:
    return [node for node in nodes(tree) if node.table == table]


@pytest.mark.usefixtures("emptied_store")
def test_a_taught_network_goes_back_to_scan_and_images() -> None:
    tree = provenance("TrainedNetwork", ["teacher = neural_model", "seed = 0"])
    assert {n.table for n in nodes(tree)} == {
        "TrainedNetwork",
        "NetworkConfig",
        "TrainingConfig",
        "ImageSet",
        "Teacher",
        "TeacherConfig",
        "ScanGroup",
        "PredictedResponses",
        "FittedEncoder",
        "EncoderConfig",
        "FitConfig",
        "Scan",
        "StimulusSet",
    }
    assert tree.made["package_version"] == base.code_version()["package_version"]
    assert {"git_commit", "device", "seconds", "computed"} <= set(tree.made)
    assert tree.parts == {"Epoch": 1}
    scan, *again = find(tree, "Scan")
    assert again and all(node.above for node in again)
    assert (scan.values["source"], len(scan.values["digest"])) == ("test", 64)
    assert "imported" in scan.values
    (responses,) = (s for s in scan.stored if s.column == "responses")
    assert responses.shown == "float32 (96, 10)"
    stored = {one.column: one for one in tree.stored}
    assert set(stored) == {"weights", "lesson"}
    assert all(one.checksum for one in stored.values())
    (config,) = find(tree, "TrainingConfig")
    assert config.documents["config"]["epochs"] == 1


def test_what_is_shared_is_told_once() -> None:
    tree = provenance("TrainedNetwork", ["teacher = neural_model", "seed = 1"])
    first, *others = find(tree, "StimulusSet")
    assert not first.above and first.stored
    assert others and all(other.above and not other.stored for other in others)
    assert all(first.key == other.key for other in others)


def test_a_network_that_nobody_taught_has_no_scan() -> None:
    tree = provenance("TrainedNetwork", ["teacher = none", "seed = 0"])
    assert not find(tree, "Scan")
    (group,) = find(tree, "ScanGroup")
    assert (group.parts, group.sources) == ({}, [])


def test_a_key_as_datajoint_and_pandas_have_it_selects_the_row() -> None:
    for key in trainings.TrainedNetwork.keys():  # noqa: SIM118 - a query, not a dict
        assert provenance("TrainedNetwork", key).key == key
    row = query.query("TrainedNetwork", limit=1).loc[0, trainings.TrainedNetwork().primary_key]
    assert provenance("TrainedNetwork", row.to_dict()).key["seed"] == row["seed"]


def test_several_rows_are_listed_to_be_copied() -> None:
    with pytest.raises(QueryError) as error:
        provenance("TrainedNetwork", ["teacher = neural_model"])
    said, *lines = str(error.value).splitlines()
    assert "TrainedNetwork: 2 rows match, expected one" in said
    assert len(lines) == 2
    for line in lines:
        command, explain, table, *key = line.split()
        assert (command, explain) == ("neuroteach", "explain")
        assert provenance(table, key).key["seed"] in (0, 1)


@pytest.mark.parametrize(
    ("table", "where", "said"),
    [
        ("TrainedNetwork", ["seed = 7"], "no row has seed = 7; there, seed is 0, 1"),
        (
            "TrainedNetwork",
            ["teacher = neural_modle", "seed = 0"],
            "of rows that meet all the others, teacher is neural_model, none",
        ),
        ("SharedCore", [], "SharedCore: has no rows yet"),
        ("TrainedNetwork", ["tacher = none"], r"tacher: no such column; did you mean teacher"),
        ("TrainedNetwork", ["config = none"], "config: which one"),
        ("Trainednetwork", [], "did you mean TrainedNetwork"),
    ],
)
def test_what_is_not_there_is_explained_by_what_is(table: str, where: list[str], said: str) -> None:
    with pytest.raises(QueryError, match=said):
        provenance(table, where)


def test_parts_lead_on_to_what_they_were_computed_from() -> None:
    tree = provenance("SimilarityStability", "scans = sim")
    populations = find(tree, "SimilarityStability.Population")
    assert len(populations) == tree.parts["Population"] == 2
    assert [[s.table for s in p.sources] for p in populations] == [["FittedEncoder"]] * 2
    assert [p.sources[0].above for p in populations] == [False, True]
    part = provenance("SimilarityStability.Population", "population = 1")
    assert {"SimilarityStability", "FittedEncoder", "Scan"} <= {n.table for n in nodes(part)}


def computed(**columns: Any) -> dict[str, Any]:
    return columns | base.Stopwatch().provenance()


def test_a_judge_is_told_from_a_teacher() -> None:
    network = (
        trainings.TrainedNetwork & (teacher_plan.TeacherConfig & {"teacher": "none"}) & "seed = 0"
    ).keys()[0]
    judge = (teaching.Teacher & (teacher_plan.TeacherConfig & {"teacher": "neural_model"})).keys()[
        0
    ]
    assert LayerSimilarity.settings is not None
    representation = LayerSimilarity.settings.row(RepresentationConfig())
    LayerSimilarity.Config.insert1(representation, skip_duplicates=True)
    key = dict(
        network,
        judge_hash=judge["teacher_hash"],
        judge_group=judge["scan_group"],
        representation_hash=representation["representation_hash"],
    )
    LayerSimilarity.insert1(computed(**key, n_compared=3), allow_direct_insert=True)
    try:
        tree = provenance("LayerSimilarity", "n_compared = 3")
    finally:
        (LayerSimilarity & key).delete(prompt=False)
    taught, judging = find(tree, "Teacher")[::-1]
    if taught.role:
        taught, judging = judging, taught
    assert (taught.role, judging.role) == ("", "judge_hash, judge_group")
    assert judging.key == judge
    assert find(tree, "Scan")


def test_a_matrix_that_a_teacher_was_made_of_is_found_and_stays() -> None:
    stimuli = recording.StimulusSet.fetch1("stimulus_set")
    row = dict(stimulus_set=stimuli, n_pairs=1, source="a paper", similarity=np.eye(2))
    teaching.Rsm.insert1({"rsm": "v1", **row})
    config = teacher_plan.TeacherConfig.row(TeacherConfig(kind="rsm", rsm="v1"))
    teacher_plan.TeacherConfig.insert1(config, skip_duplicates=True)
    key = dict(
        teacher_hash=config["teacher_hash"],
        scan_group=teacher_plan.ScanGroup.add([]),
    )
    teaching.Teacher.insert1(computed(**key), allow_direct_insert=True)
    teaching.Teacher.Matrix.insert1({**key, "rsm": "v1"}, allow_direct_insert=True)
    given = teaching.Rsm & {"rsm": "v1"}
    try:
        (rsm,) = find(provenance("Teacher", key), "Rsm")
        assert (rsm.key, rsm.values["source"], rsm.role) == ({"rsm": "v1"}, "a paper", "")
        assert [s.table for s in rsm.sources] == ["StimulusSet"]
        with pytest.raises(base.dj.DataJointError, match="before its master"):
            given.delete(prompt=False)
        assert given
    finally:
        (teaching.Teacher & key).delete(prompt=False)
        given.delete(prompt=False)


def test_an_encoder_with_a_shared_core_goes_back_to_all_scans_of_it(tmp_path: Path) -> None:
    file = tmp_path / "encoder.safetensors"
    file.write_bytes(b"weights")
    fit = encoding.FitConfig.fetch1("fit_hash")
    key = dict(encoder_hash=encoding.EncoderConfig.fetch1("encoder_hash"), fit_hash=fit, seed=1)
    fitted = dict(validation_correlation=0.5, n_epochs=1, history=[])
    recording.Scan.add_without_trials("other", 3)
    encoding.SharedCore.insert1(computed(**key, **fitted), allow_direct_insert=True)
    for scan in ("sim", "other"):
        encoding.SharedCore.Member.insert1(
            {**key, "scan": scan, "encoder": str(file)}, allow_direct_insert=True
        )
    row = dict(key, scan="sim", origin="shared core", source="", encoder=str(file), **fitted)
    encoding.FittedEncoder.insert1(computed(**row), allow_direct_insert=True)
    encoding.FittedEncoder.Core.insert1({**key, "scan": "sim"}, allow_direct_insert=True)
    try:
        tree = provenance("FittedEncoder", "origin = 'shared core'")
        (core,) = find(tree, "SharedCore")
        members = [s for s in core.sources if s.table == "SharedCore.Member"]
        assert [m.key["scan"] for m in members] == ["other", "sim"]
        assert {n.key["scan"] for n in find(tree, "Scan")} == {"sim", "other"}
        other = next(n for n in find(tree, "Scan") if n.key["scan"] == "other")
        assert other.sources == []  # of a scan without trials no stimuli are known
    finally:
        (encoding.FittedEncoder & {"origin": "shared core"}).delete(prompt=False)
        (encoding.SharedCore & key).delete(part_integrity="cascade", prompt=False)
        (recording.Scan & {"scan": "other"}).delete(part_integrity="cascade", prompt=False)
