"""Queries and provenance of a tiny experiment, as people ask for them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import typer
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from safetensors.numpy import load_file
from typer.testing import CliRunner

from pipeline.cli import query as cli_query
from pipeline.database.opening import Database, open_database
from pipeline.database.settings import Settings
from pipeline.query import rows as query
from pipeline.query.provenance import Node, provenance
from pipeline.query.restriction import QueryError
from pipeline.query.rows import named_tables
from pipeline.workers import populate
from regularized_training.alignment.layers import RepresentationConfig
from regularized_training.teachers.config import TeacherConfig
from schemas import base, encoding, recording, teacher_plan, teaching
from schemas import tables as registry
from schemas import training as trainings
from schemas.evaluations.layers import LayerSimilarity
from schemas.experiment import Experiment
from tests.servers import mariadb_over_tcp
from tests.tiny_experiment import plan

# What all of them read is computed once.
pytestmark = [pytest.mark.database, pytest.mark.xdist_group("query")]


@pytest.fixture(scope="module")
def home(
    new_settings: Callable[[Path], Settings], tmp_path_factory: pytest.TempPathFactory
) -> Settings:
    return new_settings(tmp_path_factory.mktemp("query"))


@pytest.fixture(scope="module")
def filled(home: Settings) -> Settings:
    """One scan, two teachers and two seeds, computed."""
    with open_database(home):
        plan(teachers=("none", "neural_model"), seeds=(0, 1))
        assert populate.populate().failures == []
    return home


@pytest.fixture(scope="module")
def last_opened() -> Iterator[list[Database]]:
    databases: list[Database] = []
    yield databases
    for database in databases:
        database.close()


@pytest.fixture(autouse=True)
def opened(filled: Settings, last_opened: list[Database]) -> Database:
    """The database, opened once, and again after a command that opened and closed it itself."""
    if not last_opened or base.schema.connection is not last_opened[0].connection:
        last_opened[:] = [open_database(filled)]
    return last_opened[0]


@pytest.fixture
def emptied_store(opened: Database) -> Iterator[None]:
    """The store is elsewhere: whoever reads a file from it fails."""
    store = opened.settings.store
    elsewhere = store.with_name("elsewhere")
    store.rename(elsewhere)
    yield
    elsewhere.rename(store)


# -- query -------------------------------------------------------------------------------------


def test_tables_are_joined_and_rows_and_columns_chosen() -> None:
    found = query.query(
        ["TrainedNetwork", "TeacherConfig", "TrainingConfig"],
        ["teacher = neural_model", "alpha >= 0.1", "seed in 0, 1, 7"],
        ["teacher", "alpha", "seed", "test_accuracy"],
    )
    assert found.columns.tolist() == ["teacher", "alpha", "seed", "test_accuracy"]
    assert found["teacher"].tolist() == ["neural_model"] * 2
    assert found["seed"].tolist() == [0, 1]
    stored = (trainings.TrainedNetwork * teacher_plan.TeacherConfig.proj("teacher")) & {
        "teacher": "neural_model"
    }
    assert found["test_accuracy"].tolist() == list(
        stored.to_arrays("test_accuracy", order_by="seed")
    )


def test_tables_are_joined_in_any_order_of_naming() -> None:
    names = ["TeacherConfig", "TrainingConfig", "TrainedNetwork"]
    columns = ["teacher", "alpha", "seed"]
    found = query.query(names, columns=columns, sort=["teacher", "seed"])
    again = query.query(names[::-1], columns=columns, sort=["teacher", "seed"])
    pd.testing.assert_frame_equal(found, again)
    assert len(found) == 4


def test_columns_of_one_name_are_told_apart_by_their_tables() -> None:
    tables = ["TrainedNetwork", "NoiseAccuracy", "TrainedNetwork.Epoch"]
    found = query.query(tables)
    seconds = ["TrainedNetwork.seconds", "NoiseAccuracy.seconds", "TrainedNetwork.Epoch.seconds"]
    assert set(seconds) < set(found.columns)
    assert "seconds" not in found
    assert found["NoiseAccuracy.seconds"].tolist() != found["TrainedNetwork.seconds"].tolist()
    some = query.query(tables, "TrainedNetwork.seconds > 0", ["TrainedNetwork.seconds"])
    assert some["TrainedNetwork.seconds"].tolist() == found["TrainedNetwork.seconds"].tolist()
    with pytest.raises(QueryError, match="seconds: which one, .*TrainedNetwork.seconds"):
        query.query(tables, columns=["seconds"])


def test_columns_come_in_the_order_of_their_tables_after_the_key() -> None:
    columns = query.query(["TeacherConfig", "TrainedNetwork"]).columns.tolist()
    key = trainings.TrainedNetwork().primary_key
    assert columns[: len(key)] == key
    assert columns[len(key)] == "teacher"
    assert columns[-1] == trainings.TrainedNetwork().heading.names[-1]


def test_a_column_may_be_named_with_its_table_also_where_it_need_not() -> None:
    found = query.query(["TrainedNetwork", "TeacherConfig"], "TeacherConfig.teacher = none")
    assert found["teacher"].tolist() == ["none"] * 2


def test_tables_without_a_common_key_are_refused() -> None:
    with pytest.raises(QueryError, match="Reliability: shares no key with ImageSet"):
        query.query(["ImageSet", "Reliability"])
    with pytest.raises(QueryError, match="name one between them too, such as .*TrainedNetwork or"):
        query.query(["ImageSet", "TeacherConfig"])


def test_a_join_that_multiplies_rows_is_pointed_out() -> None:
    (note,) = query.join(["TrainedNetwork", "FittedEncoder"]).notes
    assert "joined on seed, which is the whole key of neither" in note
    assert query.join(["FittedEncoder", "Scan", "EncoderScore"]).notes == ()


def test_a_nullable_reference_joins() -> None:
    assert query.query(["Scan", "StimulusSet"])["n_images"].tolist() == [60]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"tables": "TrainedNetwrok"}, "TrainedNetwrok: no such table; did you mean Trained"),
        ({"tables": ["Scan", "Scan"]}, "Scan: named twice"),
        ({"tables": []}, "tables: none is named"),
        ({"tables": "Scan", "columns": ["scn"]}, r"scn: no such column; did you mean scan\?"),
        ({"tables": "Scan", "columns": ["scan", "scan"]}, "scan is named twice"),
        ({"tables": "Scan", "where": "n_neuron > 3"}, "did you mean n_neurons"),
        ({"tables": "Scan", "where": "Scan.n_neuron > 3"}, "did you mean Scan.n_neurons"),
        ({"tables": "Scan", "where": "responses = 3"}, "responses: holds an array"),
        ({"tables": "Scan", "where": "behaviour_names = 3"}, "behaviour_names: holds JSON"),
        ({"tables": "Scan", "sort": ["responses"]}, "has no order"),
        ({"tables": "Scan", "sort": ["scan up"]}, "expected a column"),
        ({"tables": "Scan", "limit": 0}, "expected 1 or more"),
    ],
)
def test_what_is_not_there_is_refused_by_name(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(QueryError, match=said):
        query.query(**arguments)


@pytest.mark.usefixtures("emptied_store")
def test_arrays_and_files_are_described_and_never_read() -> None:
    scan = query.query("Scan").loc[0]
    assert scan["responses"] == "float32 (96, 10)"
    assert scan["responses.path"].endswith(".npy")
    network = query.query("TrainedNetwork", limit=1).loc[0]
    assert network["weights"].endswith(" bytes")
    assert json.loads(network["layers"]) == []
    assert not any(c.endswith(".path") for c in query.query("Scan", paths=False))


def test_paths_lead_to_the_files(filled: Settings) -> None:
    path = query.query("Scan", columns=["responses"])["responses.path"][0]
    responses = np.load(filled.store / path)
    assert np.array_equal(responses, np.asarray(recording.Scan.fetch1("responses")))


def test_a_file_can_be_read_without_datajoint(filled: Settings, tmp_path: Path) -> None:
    found = query.query("TrainedNetwork", limit=1)
    name, _, content = (filled.store / found["weights.path"][0]).read_bytes().partition(b"\0")
    (tmp_path / name.decode()).write_bytes(content)
    assert load_file(tmp_path / "network.safetensors")


def test_the_tables_can_be_read_without_this_package(opened: Database) -> None:
    tables = base.dj.virtual_schema(opened.settings.schema_name, connection=opened.connection)
    taught = tables.TrainedNetwork * tables.TeacherConfig.proj("teacher")
    found = (taught & {"teacher": "neural_model"}).proj("teacher", "test_accuracy").to_pandas()
    asked = query.query(["TrainedNetwork", "TeacherConfig"], "teacher = neural_model")
    assert sorted(found["test_accuracy"]) == sorted(asked["test_accuracy"])
    assert (tables.Scan & {"scan": "sim"}).fetch1("responses").load().shape == (96, 10)
    timed = tables.TrainedNetwork.proj(training="seconds") * tables.NoiseAccuracy.proj(
        testing="seconds"
    )
    assert len(timed) == 4


def test_types_do_not_depend_on_what_is_missing() -> None:
    nothing = query.query("SimilarityStability", "scan_group = nothing")
    found = query.query("SimilarityStability")
    assert nothing.empty and not found.empty
    assert nothing.dtypes.tolist() == found.dtypes.tolist()
    assert str(found["n_images"].dtype) == str(found["parts_seed"].dtype) == "Int64"
    assert str(found["simulated"].dtype) == "boolean"
    assert str(found["computed"].dtype).startswith("datetime64")


def test_missing_values_are_found_and_come_last() -> None:
    columns = ["similarity_loss"]
    some = query.query("TrainedNetwork", "similarity_loss is not null", columns)
    none = query.query("TrainedNetwork", "similarity_loss is null", columns)
    assert some["similarity_loss"].notna().tolist() == [True, True]
    assert none["similarity_loss"].isna().tolist() == [True, True]
    for order in ("similarity_loss", "similarity_loss desc"):
        found = query.query("TrainedNetwork", columns=columns, sort=[order])["similarity_loss"]
        assert found.isna().tolist() == [False, False, True, True]
        assert found.dropna().is_monotonic_decreasing == order.endswith("desc")


def test_truth_values_and_times_select_rows() -> None:
    for where, n in (
        ("simulated = true", 1),
        ("simulated = false", 0),
        ("imported > 2020-01-01", 1),
        ("imported > 2999-01-01T00:00", 0),
        ("scan like s%", 1),
        ("scan like s_", 0),
    ):
        assert len(query.query("Scan", where)) == n, where


def add_experiment(title: str) -> None:
    row = dict(scale="smoke", title=title, settings={}, added="2026-01-01")
    Experiment.insert1({"experiment": "hostile", **row})


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=60)


@given(texts, texts)
@example("x' OR '1'='1", "")
@example("\\", "\\\\")
@example("\\' OR 1=1 --", "%")
@example("%s %(a)s %%", "100%")
@example("'; DROP TABLE scan; --", "$$ ' $$")
@hypothesis_settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_text_finds_the_row_that_has_it_and_no_other(title: str, other: str) -> None:
    add_experiment(title)
    try:
        assert query.query("Experiment", f"title = {quoted(title)}")["title"].tolist() == [title]
        found = query.query("Experiment", [f"title = {quoted(other)}", "experiment = hostile"])
        assert found["title"].tolist() == [title] * (title == other)
        several = f"title in {quoted(title)}, {quoted(other)}"
        assert query.query("Experiment", several)["title"].tolist() == [title]
    finally:
        (Experiment & {"experiment": "hostile"}).delete_quick()
    assert len(recording.Scan()) == 1


def test_the_dialect_of_mysql_finds_the_same(last_opened: list[Database], tmp_path: Path) -> None:
    for database in last_opened:
        database.close()
    with mariadb_over_tcp() as server:
        if server is None:
            pytest.skip("MariaDB is not installed")
        settings = Settings(
            home=tmp_path,
            database=server.superuser,
            store=tmp_path / "store",
            schema_name="query",
            device="cpu",
        )
        with open_database(settings):
            plan()
            for title in ("x' OR '1'='1", "\\", "\\' OR 1=1 -- ", "%s", '"`'):
                add_experiment(title)
                found = query.query("Experiment", f"title = {quoted(title)}")
                assert found["title"].tolist() == [title]
                (Experiment & {"experiment": "hostile"}).delete_quick()
            found = query.query(
                ["Scan", "StimulusSet"], ["simulated = true", "imported > 2020-01-01"]
            ).loc[0]
            assert (found["responses"], found["n_images"]) == ("float32 (96, 10)", 60)
            assert bool(found["simulated"]) is True
            assert json.loads(found["behaviour_names"]) == ["running speed", "pupil size"]
            configs = ["EncoderConfig", "FitPlan", "FitConfig"]
            (config,) = query.query(configs, columns=["FitConfig.config"])["FitConfig.config"]
            assert json.loads(config)["max_epochs"] == 1
            assert [s.table for s in provenance("Scan").sources] == ["StimulusSet"]


def test_every_table_is_listed_with_all_its_columns() -> None:
    listed = query.described()
    assert set(listed["table"]) == set(named_tables())
    assert {"ScanGroup.Member", "TrainedNetwork.Epoch", "Scan", "Seed"} < set(listed["table"])
    assert {t.__name__ for t in registry.queued_tables()} < set(listed["table"])
    assert (listed["description"] != "").all()
    scan = listed[listed["table"] == "Scan"].set_index("column")
    assert scan.index.tolist() == list(recording.Scan().heading.names)
    assert scan.loc["responses", "type"] == "array"
    assert scan.index[scan["key"]].tolist() == ["scan"]
    summary = query.summary(listed).set_index("table")
    assert summary.loc["Seed", "columns"] == "seed*"


# -- explain -----------------------------------------------------------------------------------


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
    (weights,) = tree.stored
    assert weights.checksum
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
    assert (group.parts, group.sources) == ({"Member": 0, "Source": 0}, [])


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


# -- the commands ------------------------------------------------------------------------------


@pytest.fixture
def run(filled: Settings, opened: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    opened.close()
    for name in ("home", "database", "store"):
        monkeypatch.setenv(f"NEUROTEACH_{name.upper()}", str(getattr(filled, name)))
    monkeypatch.setenv("NEUROTEACH_SCHEMA", filled.schema_name)
    app = typer.Typer()
    app.command()(cli_query.query)
    app.command()(cli_query.explain)
    yield lambda *arguments: CliRunner().invoke(app, [str(a) for a in arguments])


TAUGHT = ("TrainedNetwork", "TeacherConfig", "--columns", "teacher, seed,weights")


def test_a_query_is_printed_in_every_format(run: Any, tmp_path: Path) -> None:
    found = run("query", *TAUGHT, "-w", "teacher = neural_model", "-f", "json")
    assert found.exit_code == 0, found.stderr
    rows = json.loads(found.stdout)
    assert [(r["teacher"], r["seed"]) for r in rows] == [("neural_model", 0), ("neural_model", 1)]
    assert list(rows[0]) == ["teacher", "seed", "weights", "weights.path"]
    found = run("query", *TAUGHT, "--sort", "seed desc", "--limit", 1, "-f", "csv")
    assert found.stdout.splitlines()[0] == "teacher,seed,weights,weights.path"
    assert found.stdout.splitlines()[1].split(",")[1] == "1"
    table = run("query", *TAUGHT)
    assert "neural_model" in table.stdout and "path" not in table.stdout
    file = tmp_path / "found.parquet"
    assert run("query", *TAUGHT, "-f", "parquet", "-o", file).exit_code == 0
    assert str(pd.read_parquet(file)["seed"].dtype) == "Int64"
    assert run("query", *TAUGHT, "-f", "parquet").exit_code == 2


def test_a_query_that_finds_nothing_says_so_and_keeps_its_columns(run: Any) -> None:
    found = run("query", "Scan", "-w", "scan = other", "-c", "scan,n_neurons", "-f", "csv")
    assert (found.exit_code, found.stdout) == (0, "scan,n_neurons\n")
    assert "no rows" in found.stderr


def test_wrong_use_is_told_in_a_line(run: Any) -> None:
    assert run("query").exit_code == 2
    assert run("query", "Scan", "-c", "scan,,source").exit_code == 2
    found = run("query", "Scan", "-w", "scan")
    assert (found.exit_code, found.stdout) == (1, "")
    assert len(found.stderr.splitlines()) == 1
    found = run("explain", "TrainedNetwork", "seed=9")
    assert (found.exit_code, found.stdout) == (1, "")


def test_tables_are_listed(run: Any) -> None:
    assert "TrainedNetwork.Epoch" in run("query", "--list").stdout
    found = run("query", "Scan", "--list", "-f", "json")
    assert {"column": "scan", "key": True}.items() <= json.loads(found.stdout)[0].items()


def test_a_tree_is_printed_for_people_and_for_programs(run: Any, tmp_path: Path) -> None:
    which = ("explain", "TrainedNetwork", "teacher=neural_model", "seed=0")
    tree = run(*which)
    assert tree.exit_code == 0, tree.stderr
    for said in ("Scan scan=sim", "as above", "made: package_version", "float32 (96, 10)"):
        assert said in tree.stdout
    file = tmp_path / "tree.txt"
    assert run(*which, "-o", file).stdout == ""
    assert file.read_text(encoding="utf-8") == tree.stdout
    found = json.loads(run(*which, "-f", "json").stdout)
    assert (found["table"], found["key"]["seed"]) == ("TrainedNetwork", 0)
    assert found["stored"]["weights"]["size"] > 0
    assert found["values"]["layers"]
