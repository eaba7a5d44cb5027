"""Queries of a tiny experiment, as people ask for them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

from pipeline.database.opening import Database, open_database
from pipeline.database.settings import Settings
from pipeline.query import rows as query
from pipeline.query.provenance import provenance
from pipeline.query.restriction import QueryError
from pipeline.query.rows import named_tables
from schemas import base, recording, teacher_plan
from schemas import tables as registry
from schemas import training as trainings
from schemas.experiment import Experiment
from tests.servers import mariadb_over_tcp
from tests.tiny_experiment import plan

# What all of them read is computed once, as `filled`.
pytestmark = [
    pytest.mark.database,
    pytest.mark.xdist_group("query"),
    pytest.mark.usefixtures("opened"),
]


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
        (
            {"tables": ["ImageSet", "PredictionPlan"]},
            "Plan: shares no key with ImageSet",
        ),
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
    with mariadb_over_tcp() as server, open_database(server.settings(tmp_path, "query")):
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


def test_a_table_that_the_database_lacks_is_named_and_troubles_nobody_else(
    opened: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one of a package that its owner has not installed."""
    catalogue = base.schema.catalogue
    assert catalogue is not None
    there = {name: table for name, table in catalogue.tables.items() if name != "Search"}
    monkeypatch.setattr(catalogue, "_tables", there)
    monkeypatch.setattr(catalogue, "_names", catalogue.names - {"search"})
    absent = set(registry.known_tables()) - set(registry.all_tables())
    assert {table.__name__ for table in absent} == {"Search"}
    named_tables.cache_clear()  # what is known does not hang on the database that is open
    with pytest.raises(QueryError, match="Search: this database has no such table yet; .*init"):
        query.query("Search")
    assert set(query.described()["table"]) == set(there)
    with pytest.raises(QueryError, match="Seed: shares no key with ImageSet; name one between"):
        query.query(["ImageSet", "Seed"])
    assert provenance("TrainedNetwork", ["teacher = none", "seed = 0"]).sources


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
