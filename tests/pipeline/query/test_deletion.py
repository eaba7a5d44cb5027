"""What goes with a row that is deleted, and what stays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import neuroteach
from pipeline.cli.main import app
from pipeline.database.opening import Database, open_database
from pipeline.database.settings import Settings
from pipeline.experiments.adding import add_experiment
from pipeline.experiments.file import ExperimentSettings
from pipeline.query import deletion
from pipeline.query.rows import QueryError, named_tables
from pipeline.workers.populate import populate
from regularized_training.networks.saved import read_network
from schemas import encoding, experiment, recording, teaching, training
from schemas.base import dj
from schemas.evaluations.noise import NoiseAccuracy
from tests.tiny_experiment import environment, plan, tiny_experiment

pytestmark = pytest.mark.database


@pytest.fixture
def computed(with_tables: Settings, last_opened: list[Database]) -> Iterator[Database]:
    """Two computed networks in a database of their own, which is the only open one."""
    while last_opened:
        last_opened.pop().close()
    with open_database(with_tables) as database:
        plan(teachers=("none", "neural_model"))
        populate()
        yield database


def command(settings: Settings, *words: str, typed: str = "") -> tuple[int, str]:
    done = CliRunner().invoke(app, words, env=environment(settings), input=typed)
    return done.exit_code, done.stderr


def test_rows_and_what_was_made_of_them_go_and_nothing_else(
    computed: Database, settings: Settings, tmp_path: Path
) -> None:
    """From the network up: each deletion takes along all that was computed from its row."""
    assert (len(training.TrainedNetwork()), len(NoiseAccuracy())) == (2, 2)
    file = tmp_path / "network.safetensors"
    code, said = command(settings, "export", "network", "teacher=none", "-o", str(file))
    assert code == 0, said
    network = read_network(file)
    images = torch.zeros(3, 1, 16, 16)
    script = tmp_path / "network.pt"
    assert command(settings, "export", "network", "teacher=none", "-o", str(script))[0] == 0
    np.testing.assert_allclose(
        network(images).detach(), read_network(script)(images).detach(), rtol=1e-5, atol=1e-6
    )
    code, said = command(settings, "export", "network", "seed=0", "-o", str(tmp_path / "x.pt"))
    assert code == 1 and "2 rows match, expected one" in said

    code, said = command(settings, "delete", "network", "teacher=none", "--dry-run")
    assert code == 0 and "1 of TrainedNetwork, computed in" in said and "nothing was" in said
    assert command(settings, "delete", "network", "teacher=none", typed="n\n")[0] == 1
    with open_database(settings):
        assert len(training.TrainedNetwork()) == 2
    assert command(settings, "delete", "network", "teacher=none", typed="y\n")[0] == 0

    with open_database(settings):
        assert (len(training.TrainedNetwork()), len(NoiseAccuracy())) == (1, 1)
        with pytest.raises(QueryError, match="say which"):
            deletion.of_networks([])
        with pytest.raises(
            LookupError, match="scan: simm is not in the database; did you mean sim"
        ):
            deletion.of_scan("simm")
        # The encoder that a teacher was made of takes the teacher and its network along.
        deletion.of_encoder("sim", neuroteach.Selection()).execute()
        left = [len(t()) for t in (encoding.FittedEncoder, teaching.Teacher.Source)]
        assert left == [0, 0]
        assert len(training.TrainedNetwork()) == 0
        assert len(teaching.Teacher()) == 1  # the one that teaches nothing
        assert len(experiment.Experiment()) == 1
        populate()  # what went is computed again
        assert len(training.TrainedNetwork()) == 2
        deletion.of_experiment("tiny", "smoke").execute()
        assert len(training.TrainedNetwork()) == len(encoding.FittedEncoder()) == 0
        assert len(recording.Scan()) == 1
        deletion.of_scan("sim").execute()
        deletion.of_images("digits").execute()
        assert len(recording.Scan()) == len(training.ImageSet()) == 0


def test_what_another_experiment_builds_on_stays_and_the_numbers_are_those_that_go(
    computed: Database,
) -> None:
    """Its teacher is made of an encoder that the first one fitted."""
    stimuli = recording.Scan.fetch1("stimulus_set")
    source = {"encoders": ["sim"], "stimuli": stimuli}
    taught = {"kind": "neural_model", "source": "lab"}
    first = tiny_experiment().model_dump()
    second = {**first, "recordings": [], "sources": {"lab": source}, "teachers": ["none", taught]}
    assert add_experiment(ExperimentSettings.model_validate(second), name="second", scale="smoke")
    assert populate().failures == []

    def counted() -> dict[str, int]:
        return {name: len(table()) for name, table in named_tables().items()}

    for name, encoders in (("tiny", 1), ("second", 1)):
        going = deletion.of_experiment(name, "smoke")
        said = {one.table: one.rows for one in going.affected()}
        before = counted()
        going.execute()
        after = counted()
        assert said == {t: n - after[t] for t, n in before.items() if n > after[t]}
        assert len(encoding.FittedEncoder()) == encoders
        assert populate().failures == []
    assert len(training.TrainedNetwork()) == 0


def test_a_table_of_ones_own_refers_to_these_and_is_deleted_with_them(
    computed: Database, settings: Settings
) -> None:
    lab = dj.Schema(f"lab_{settings.schema_name}", connection=computed.connection)
    TrainedNetwork = neuroteach.tables.TrainedNetwork

    @lab
    class Confidence(dj.Computed):
        definition = """
            -> TrainedNetwork
            ---
            layers : int32
        """

        def make(self, key):  # type: ignore[no-untyped-def]
            self.insert1({**key, "layers": len((TrainedNetwork & key).fetch1("layers"))})

    Confidence.populate()
    assert len(Confidence()) == 2
    deletion.of_networks(["teacher = none"]).execute()
    assert len(Confidence()) == 1
    computed.connection.query(f'DROP SCHEMA "lab_{settings.schema_name}" CASCADE')
