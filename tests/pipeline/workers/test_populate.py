"""From a scan to scores in the database, alone and beside others; what fails and is tried again."""

from __future__ import annotations

import multiprocessing
import re
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import matplotlib.image
import numpy as np
import psycopg2
import pytest
import torch

from neuroteach import results
from pipeline import figures
from pipeline.database import opening
from pipeline.database.opening import Database, open_database
from pipeline.database.settings import Settings
from pipeline.experiments.selection import ALL, Selection
from pipeline.results.encoders import caveat
from pipeline.results.registry import NothingToShowError
from pipeline.workers import populate
from pipeline.workers.queues import Progress
from predictive_model.fits.fitted import predict_recording
from predictive_model.scoring.ceilings import ceilings
from predictive_model.scoring.score_summary import summarise
from predictive_model.scoring.scores import score_predictions
from schemas import base, encoding, prediction, recording, teacher_plan, teaching
from schemas import reliability as reliability_tables
from schemas import tables as registry
from schemas import training as trainings
from schemas.configurations import config_hash
from schemas.evaluations import noise as noise_tables
from tests.tiny_experiment import (
    LEVELS,
    N_IMAGES,
    N_REPEATED,
    TEACHERS,
    Worker,
    few_digits,
    job_states,
    plan,
    rows_of_all_tables,
    tiny_recording,
)

pytestmark = pytest.mark.database


# The one scan shares its core with no other, and no attack or comparison is asked for; digits have
# no superclasses.
UNPLANNED = (
    "SharedCore",
    "SuperclassErrors",
    "LayerActivations",
    "LayerSimilarity",
    "AdversarialDistance",
    "AttackChecks",
    "NeuralPrediction",
    "OtherImagesAccuracy",
    "SoftLabelScores",
    "CorruptionAccuracy",
    "ManipulationAccuracy",
    "AutoAttackAccuracy",
    "ScanPredictivity",
    "WhiteBoxAccuracy",
    "HybridAnswers",
    "LayerEigenspectrum",
    "FourierSensitivity",
    "FilterTuning",
)


@pytest.fixture(scope="class")
def opened(
    new_tables: Callable[[Path], Settings], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Database]:
    with open_database(new_tables(tmp_path_factory.mktemp("tiny"))) as database:
        yield database


@pytest.fixture(scope="class")
def progress(opened: Database) -> list[Progress]:
    """What populate reported on the way to the finished experiment."""
    plan(teachers=TEACHERS, seeds=(0, 1))
    reported: list[Progress] = []
    result = populate.populate(on_progress=reported.append)
    assert result.failures == []
    assert result.computed == rows_of_all_tables()
    return reported


@pytest.mark.xdist_group("tiny")
class TestATinyExperiment:
    """One scan, four teachers, two seeds: computed once, read by every test of the class."""

    @pytest.fixture(autouse=True)
    def _finished(self, progress: list[Progress]) -> None:
        """Every test starts from the finished experiment."""

    def test_everything_planned_is_computed_once(self, progress: list[Progress]) -> None:
        expected = {
            "Reliability": 1,
            "FittedEncoder": 1,
            "EncoderScore": 1,
            "PredictedResponses": 1,
            "SimilarityQuality": 1,
            "SimilarityStructure": 1,
            "SimilarityStability": 1,
            "Teacher": 4,
            "TrainedNetwork": 8,
            "NoiseAccuracy": 8,
        }
        alone = dict.fromkeys(UNPLANNED, 0)
        assert rows_of_all_tables() == expected | alone
        assert {p.table: (p.done, p.total) for p in progress} == {
            table: (n, n) for table, n in expected.items()
        }
        assert [p.done for p in progress if p.table == "TrainedNetwork"] == list(range(1, 9))
        totals = {p.table: p.total for p in populate.progress(Selection("tiny", "smoke"))}
        assert totals == expected | alone
        assert len(trainings.TrainedNetwork.Epoch()) == 8
        assert len(noise_tables.NoiseAccuracy.Level()) == 8 * len(LEVELS)

    def test_tables_are_joined_as_the_documentation_does(self) -> None:
        taught = trainings.TrainedNetwork * teacher_plan.TeacherConfig.proj("teacher")
        taught = taught * trainings.TrainingConfig.proj("alpha") & "teacher = 'neural_model'"
        found = taught.proj("test_accuracy", "alpha", "seconds").to_pandas()
        assert len(found) == 2
        assert trainings.TrainedNetwork.load(taught.keys()[0]) is not None

    def test_a_second_populate_computes_nothing(self) -> None:
        def times() -> list[Any]:
            return [list(t.to_arrays("computed")) for t in registry.computed_tables()]

        before = times()
        result = populate.populate()
        assert set(result.computed.values()) == {0}
        assert times() == before
        assert all(job_states(table) == [] for table in registry.computed_tables())

    def test_every_computed_row_says_what_made_it(self) -> None:
        for table in registry.computed_tables():
            for row in table.proj("package_version", "device", "seconds", "computed").to_dicts():
                assert row["package_version"] == base.code_version()["package_version"]
                assert row["device"] == "cpu"
                assert 0 < row["seconds"] < 300

    def test_checkpoints_of_finished_computations_are_gone(self, opened: Database) -> None:
        assert list(opened.settings.checkpoints.iterdir()) == []

    def test_the_teacher_none_teaches_nothing_and_the_others_the_same_images(self) -> None:
        table = teaching.Teacher * teacher_plan.TeacherConfig.proj("teacher")
        rows = table.proj("n_stimuli", "teacher").to_dicts()
        n = {row["teacher"]: row["n_stimuli"] for row in rows}
        taught = N_IMAGES - N_REPEATED
        assert n == {"none": 0, "neural_model": taught, "neural_data": taught, "shuffle": taught}

        def load(kind: str) -> Any:
            return teaching.Teacher.load((table & {"teacher": kind}).fetch1("KEY"))

        assert load("none") is None
        model, shuffled = load("neural_model"), load("shuffle")
        assert np.array_equal(model.stimuli, shuffled.stimuli)
        assert not np.array_equal(model.similarity, shuffled.similarity)
        assert np.array_equal(np.sort(model.similarity, None), np.sort(shuffled.similarity, None))
        held_out = tiny_recording().images[tiny_recording().images_of("test")]
        shown = {image.tobytes() for image in model.stimuli}
        assert not shown & {image.tobytes() for image in held_out}

    def test_only_taught_networks_have_a_similarity_loss(self) -> None:
        query = trainings.TrainedNetwork * teacher_plan.TeacherConfig.proj("teacher")
        for row in query.proj("similarity_loss", "layers", "teacher").to_dicts():
            taught = row["teacher"] != "none"
            assert (row["similarity_loss"] is not None) == taught
            assert bool(row["layers"]) == taught

    def test_a_network_read_back_answers_as_its_scores_say(self) -> None:
        task = few_digits()
        for key in trainings.TrainedNetwork.keys():  # noqa: SIM118 - a query, not a dict
            network = trainings.TrainedNetwork.load(key)
            with torch.inference_mode():
                answers = network(torch.from_numpy(task.test_images).float() / 255).argmax(1)
            accuracy = float((answers.numpy() == task.test_labels).mean())
            without_noise = noise_tables.NoiseAccuracy.Level & key & {"level_index": 0}
            assert without_noise.fetch1("accuracy") == pytest.approx(accuracy, abs=0.021)
            stored = (trainings.TrainedNetwork & key).fetch1("test_accuracy")
            assert stored == pytest.approx(accuracy, abs=0.021)

    def test_an_encoder_read_back_predicts_what_was_stored(self) -> None:
        key = encoding.FittedEncoder.fetch1("KEY")
        predicted = encoding.FittedEncoder.load(key).predict(tiny_recording().images)
        stored = prediction.PredictedResponses.fetch1("responses")
        assert np.allclose(stored, predicted, atol=1e-6)

    def test_scores_in_the_database_are_those_of_the_encoder_read_back(self) -> None:
        scan = tiny_recording()
        fitted = encoding.FittedEncoder.load(encoding.FittedEncoder.fetch1("KEY"))
        predicted = predict_recording(fitted, scan, "test")
        scores = score_predictions(scan, "test", predicted)
        stored = prediction.EncoderScore.fetch1()
        assert (stored["status"], stored["n_images"]) == ("ok", N_REPEATED)
        for name, score in summarise(scores).items():
            kept = [stored[f"{name}{end}"] for end in ("", "_low", "_high", "_ceiling")]
            found = [score.value, score.low, score.high, score.ceiling]
            expected = [None if v is None or np.isnan(v) else v for v in found]
            assert kept == pytest.approx(expected, abs=1e-4)
            assert stored[f"n_{name}"] == score.n
        assert scores.ceilings is not None
        np.testing.assert_allclose(stored["cc_max_by_neuron"], scores.ceilings.cc_max)
        np.testing.assert_allclose(stored["cc_norm_by_neuron"], scores.cc_norm, atol=1e-4)

    def test_reliability_in_the_database_is_over_all_repeated_images(self) -> None:
        found = ceilings(tiny_recording().repeated_trials())
        stored = reliability_tables.Reliability.fetch1()
        for name in ("oracle", "fev", "cc_max", "split_half"):
            np.testing.assert_allclose(stored[name], getattr(found, name))
            assert stored[f"mean_{name}"] == pytest.approx(getattr(found, name).mean())

    def test_results_hold_one_row_for_each_encoder_and_each_network_at_each_level(self) -> None:
        encoders = results.encoders("tiny")
        assert len(encoders) == 1
        assert encoders["simulated"].tolist() == [True]
        assert {"status", "oracle", "n_feve", "n_cc_norm", "n_epochs"} <= set(encoders)
        for score in ("single_trial", "to_average", "fraction_oracle_slope", "cc_norm"):
            assert (encoders[f"{score}_low"] <= encoders[score]).all()
            assert (encoders[score] <= encoders[f"{score}_high"]).all()
            assert (encoders[f"{score}_ceiling"] > 0).all()
        similarity = results.similarity("tiny", "smoke")
        assert similarity[["scan", "status", "n_images", "n_repeats"]].to_numpy().tolist() == [
            ["sim", "ok", N_REPEATED, 4]
        ]
        assert {"model_correlation", "data_correlation", "oracle_ceiling"} <= set(similarity)
        by_seed = results.noise_by_seed("tiny")
        assert len(by_seed) == 8 * len(LEVELS)
        assert by_seed["accuracy"].between(0, 1).all()
        assert set(by_seed["n_images"]) == {50}

    def test_accuracy_under_noise_is_the_mean_over_seeds_with_its_standard_error(self) -> None:
        by_seed = results.noise_by_seed()
        summary = results.noise()
        assert summary["teacher"].drop_duplicates().tolist() == list(TEACHERS)
        assert len(summary) == len(TEACHERS) * len(LEVELS)
        assert set(summary["n_seeds"]) == {2}
        for _, row in summary.iterrows():
            mine = (by_seed["teacher"] == row["teacher"]) & (by_seed["level"] == row["level"])
            a, b = by_seed.loc[mine, "accuracy"]
            assert row["accuracy"] == pytest.approx((a + b) / 2)
            assert row["sem"] == pytest.approx(abs(a - b) / 2)

    def test_numbers_of_simulated_brains_and_reduced_scales_are_marked(self) -> None:
        assert caveat(Selection("tiny")) == "the brain was simulated; at reduced scale (smoke)"

    def test_an_unknown_experiment_is_named_beside_those_there_are(self) -> None:
        with pytest.raises(LookupError, match=r"nobody is not in .* tiny \(smoke\)"):
            results.noise("nobody")

    @pytest.mark.parametrize("name", ["similarity", "stability", "spectra", "pairs", "noise"])
    def test_figures_show_something(self, name: Any, tmp_path: Path) -> None:
        path = tmp_path / "new folder" / f"{name}.png"
        figures.draw(name, path, Selection("tiny"))
        image = matplotlib.image.imread(path)
        assert path.stat().st_size > 10_000
        assert image[..., :3].std() > 0.05

    def test_a_figure_of_an_unknown_format_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="ending '.xyz', expected one of"):
            figures.draw("noise", tmp_path / "noise.xyz", ALL)
        assert list(tmp_path.iterdir()) == []


def test_no_figure_is_drawn_of_an_empty_database(database: Database, tmp_path: Path) -> None:
    for name in ("similarity", "stability", "spectra", "pairs", "noise"):
        with pytest.raises(NothingToShowError, match="run `neuroteach (populate|experiment add)`"):
            figures.draw(name, tmp_path / "figure.png", ALL)
    assert results.noise().empty


def test_two_workers_compute_every_key_once(
    database: Database, start_worker: Callable[[], Worker]
) -> None:
    plan(teachers=("none", "shuffle"), seeds=(0, 1))
    workers = [start_worker() for _ in range(2)]
    assert [w.process.wait(120) for w in workers] == [0, 0], [w.said() for w in workers]
    # A worker says a line for each epoch, and each of these fits and trainings has one epoch.
    lines = [line for w in workers for line in w.said().splitlines()]
    names = sorted(line.split(": epoch")[0] for line in lines if "epoch" in line)
    taught = [f"digits, {teacher}, seed {i}" for teacher in ("none", "shuffle") for i in (0, 1)]
    assert names == [*taught, "sim"]
    others = [line for line in lines if "epoch" not in line]
    counts = [line for line in others if re.fullmatch(r"[\d:]{8} \w+ \d+ of \d+", line)]
    assert others == counts, "nothing else, such as a duplicate, was worth a line"
    assert rows_of_all_tables()["NoiseAccuracy"] == 4
    assert populate.failures() == []


@pytest.mark.parametrize("reserving", [False, True], ids=["unreserved", "reserved"])
def test_a_row_that_somebody_else_makes_meanwhile_is_no_failure(
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    reserving: bool,
) -> None:
    """As a plain populate in a notebook may, which another process runs beside this worker."""
    plan()
    table, context = reliability_tables.Reliability, multiprocessing.get_context("fork")
    real, others = table.compute, []

    def overtaken(self: Any, key: dict[str, Any], *settings: Any) -> Any:
        found = real(self, key, *settings)
        if not others:
            others.append(context.Process(target=elsewhere, args=(database.settings,)))
            others[0].start()
            others[0].join(60)
        return found

    monkeypatch.setattr(table, "compute", overtaken)
    if reserving:
        result = populate.populate(Selection("tiny", "smoke"))
        assert result.failures == []
    else:
        table.populate(reserve_jobs=False)
    assert others[0].exitcode == 0
    assert len(table()) == 1 and job_states(table) == []
    assert table().fetch1("host") == "elsewhere"
    assert "uplicate" not in capsys.readouterr().err


def elsewhere(settings: Settings) -> None:
    """Compute reliabilities without reserving them, as one who does not know of workers."""
    opening._opened = None  # the parent's
    reliability_tables.Reliability.compute = COMPUTE
    base.platform.node = lambda: "elsewhere"
    with open_database(settings):
        reliability_tables.Reliability.populate(reserve_jobs=False)


COMPUTE = reliability_tables.Reliability.compute


def test_a_plain_populate_leaves_alone_what_another_is_computing(
    database: Database, settings: Settings
) -> None:
    plan()
    table = reliability_tables.Reliability
    jobs = table().jobs
    jobs.refresh(delay=-1)
    with closing(psycopg2.connect(settings.database)) as other:
        database.connection.query(
            f"UPDATE {jobs.full_table_name} SET status = 'reserved', connection_id = %s, "
            "reserved_time = CURRENT_TIMESTAMP",
            (other.info.backend_pid,),
        )
        assert table.populate()["success_count"] == 0
        assert len(table()) == 0 and job_states(table) == ["reserved"]
    jobs.error(recording.Scan.fetch1("KEY"), "ValueError: the brain was tired")
    assert table.populate()["success_count"] == 1, "a failure is tried again, as by DataJoint"
    assert job_states(table) == []


def test_one_key_is_waited_for_while_another_worker_computes_it(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `neuroteach predict` does; what failed before is tried again."""
    plan()
    table, key = reliability_tables.Reliability, recording.Scan.fetch1("KEY")
    jobs = table().jobs
    jobs.refresh(delay=-1)
    jobs.error(key, "ValueError: the brain was tired")
    populate.compute(key, table)
    assert len(table()) == 1
    table.delete(prompt=False)
    jobs.refresh(delay=-1)
    other, waits = psycopg2.connect(settings.database), []
    database.connection.query(
        f"UPDATE {jobs.full_table_name} SET status = 'reserved', connection_id = %s, "
        "reserved_time = CURRENT_TIMESTAMP",
        (other.info.backend_pid,),
    )

    def die_while_waited_for(seconds: float) -> None:
        waits.append(seconds)
        other.close()
        time.sleep(0.1)

    clock = SimpleNamespace(sleep=die_while_waited_for, monotonic=time.monotonic)
    monkeypatch.setattr(populate, "time", clock)
    populate.compute(key, table)
    assert waits and len(table()) == 1
    with pytest.raises(LookupError, match="cannot be computed from what is there"):
        populate.compute({"scan": "nobody's"}, table)


def test_a_failed_computation_is_reported_and_left_alone_while_others_go_on(
    database: Database,
) -> None:
    plan("good")
    bad = plan("bad", fit={"learning_rate": 1e30, "max_epochs": 3})
    bad_hash = config_hash(bad.fit)
    result = populate.populate()
    (failure,) = result.failures
    assert (failure.table, failure.key["fit_hash"]) == ("FittedEncoder", bad_hash)
    assert failure.message.startswith("FitError: the loss is nan in epoch 1")
    assert populate.failures() == [failure]
    assert job_states(encoding.FittedEncoder) == ["error"]
    assert len(results.noise_by_seed("good")) == len(LEVELS)
    far = populate.progress(Selection("bad"))
    assert [p.done for p in far if p.table == "FittedEncoder"] == [0]

    again = populate.populate()
    assert (again.failures, set(again.computed.values())) == ([], {0})
    assert populate.retry_failures() == 1
    assert populate.failures() == []
    assert [f.key for f in populate.populate().failures] == [failure.key]


def test_an_experiment_that_is_not_there_is_refused_by_name(database: Database) -> None:
    plan("good")
    for use in (populate.populate, populate.progress, populate.failures, populate.retry_failures):
        with pytest.raises(LookupError, match=r"experiment: typo is .* which has good \(smoke\)"):
            use(Selection("typo"))


def test_failures_of_one_experiment_are_retried_alone(database: Database) -> None:
    for name, rate in (("bad", 1e30), ("worse", 1e31)):
        plan(name, fit={"learning_rate": rate, "max_epochs": 3})
    assert [f.table for f in populate.populate().failures] == ["FittedEncoder"] * 2
    assert populate.retry_failures(Selection("bad")) == 1
    assert populate.failures(Selection("bad")) == []
    assert len(populate.failures(Selection("worse"))) == 1


def test_computations_that_failed_for_a_damaged_file_succeed_once_it_is_mended(
    database: Database, settings: Settings
) -> None:
    plan()
    (file,) = settings.store.rglob("*responses*.npy")
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    result = populate.populate()
    assert {f.table for f in result.failures} == {"Reliability", "FittedEncoder"}
    assert sum(rows_of_all_tables().values()) == 3  # teacher, network and score need no scan
    file.write_bytes(content)
    assert populate.retry_failures() == 2
    assert populate.populate().failures == []
    assert {n for table, n in rows_of_all_tables().items() if table not in UNPLANNED} == {1}


def test_populate_can_be_limited_to_an_experiment(database: Database) -> None:
    plan("first", seeds=(0,))
    plan("second", seeds=(1, 2))
    computed = populate.populate(Selection("first")).computed
    assert (computed["TrainedNetwork"], computed["NoiseAccuracy"]) == (1, 1)
    with pytest.raises(LookupError, match="second paper is not in the database"):
        populate.populate(Selection("second", "paper"))
    assert populate.populate().computed["TrainedNetwork"] == 2


def test_populate_ends_early_when_told_so(database: Database) -> None:
    plan()
    answers = iter([True, True, True])
    computed = populate.populate(keep_going=lambda: next(answers, False)).computed
    assert sum(computed.values()) == 1
