"""Stimuli that are the images of a task, and what says so."""

from __future__ import annotations

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from pipeline.cli.main import app
from pipeline.database.opening import Database, open_database
from pipeline.database.settings import Settings
from pipeline.query import deletion
from pipeline.transfer.rows import snapshot, tables_of
from pipeline.transfer.selection import _Links
from regularized_training.tasks.as_stimuli import task_stimuli
from schemas.recording import StimulusName, StimulusSet
from schemas.task_stimuli import TaskStimuli
from schemas.training import ImageSet
from tests.tiny_experiment import few_digits

pytestmark = pytest.mark.database

SHAPE = (18, 32)


def test_stimuli_are_made_of_a_set_once_and_go_with_it(database: Database) -> None:
    task = few_digits()
    ImageSet.add(task, source="test")
    key = TaskStimuli.add("digits", SHAPE, name="digits-18x32")
    assert TaskStimuli.add("digits", SHAPE) == key == StimulusName.key_of("digits-18x32")
    assert TaskStimuli.add("digits", SHAPE, "validation") != key
    assert sorted(TaskStimuli.to_arrays("part")) == ["train", "validation"]
    stored = (StimulusSet & {"stimulus_set": key}).fetch1("images")
    np.testing.assert_array_equal(np.asarray(stored), task_stimuli(task, SHAPE))
    with pytest.raises(LookupError, match="other is not in the database, which has digits"):
        TaskStimuli.add("other", SHAPE)

    # Whoever takes the stimuli along takes what says whose images they are, and the images.
    with snapshot(database.connection):
        links = _Links(
            database.connection, tables_of(database.connection, database.settings.schema_name)
        )
        (found,) = links.extensions(("StimulusSet", f'["{key}"]'))
        assert found[0] == "TaskStimuli"
        assert set(links.of(found)) >= {("StimulusSet", f'["{key}"]'), ("ImageSet", '["digits"]')}

    deletion.of_images("digits").execute()
    assert not len(TaskStimuli()), "whose images they were is not known any more"
    assert len(StimulusSet()) == 2


def test_a_command_makes_them(with_tables: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (
        ("HOME", with_tables.home),
        ("DATABASE", with_tables.database),
        ("SCHEMA", with_tables.schema_name),
    ):
        monkeypatch.setenv(f"NEUROTEACH_{name}", str(value))

    def run(*arguments: object) -> Result:
        return CliRunner().invoke(app, ["import", "stimuli", *map(str, arguments)])

    with open_database(with_tables):
        ImageSet.add(few_digits(), source="test")
    size = ("--height", 18, "--width", 32)
    made = run("--from-images", "digits", *size, "--name", "mine")
    assert made.exit_code == 0, made.stderr
    with open_database(with_tables):
        assert StimulusName.key_of("mine") == made.stdout.strip()
    for arguments, said in (
        ((), "expected SOURCE or --from-images"),
        (("photographs", "--from-images", "digits"), "one of the two"),
        (("--from-images", "digits", "--number", 5), "are for files"),
        (("--from-images", "other"), "other is not in the database"),
        (("--from-images", "digits", "--part", "test"), "test"),
    ):
        refused = run(*arguments)
        assert refused.exit_code != 0 and said in " ".join(refused.stderr.split())
