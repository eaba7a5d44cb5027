"""Published encoders as teachers, attacks and layers: from an experiment's file to its figures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest

from neuroteach import results
from pipeline import figures
from pipeline.database.opening import Database, open_database
from pipeline.database.settings import Settings
from pipeline.experiments.adding import add_experiment
from pipeline.experiments.file import ExperimentSettings
from pipeline.experiments.selection import Selection
from pipeline.results import registry
from pipeline.results.conditions import conditions
from pipeline.results.encoders import caveat
from pipeline.workers import populate
from predictive_model.fits.published import published_encoder
from predictive_model.recordings.stimuli import natural_stimuli
from regularized_training.alignment.layers import RepresentationConfig, compare_layers
from regularized_training.networks.architectures import compared_layers
from regularized_training.robustness.attack_config import AttackConfig
from regularized_training.robustness.attacks import adversarial_distances
from regularized_training.teachers.similarity import model_similarity
from regularized_training.teachers.teacher import held_out_stimuli
from schemas import encoding, teacher_plan, teaching, training
from schemas.evaluations import adversarial as adversarial_tables
from schemas.evaluations import layers as layers_tables
from schemas.recording import StimulusSet
from tests.predictive_model.fits.test_published import RECIPE, SHAPE, state_of
from tests.tiny_experiment import few_digits, tiny_experiment

# What all of them read is computed once.
pytestmark = [pytest.mark.database, pytest.mark.xdist_group("teaching")]

N_STIMULI = 40
PGD: dict[str, Any] = {
    "method": "pgd",
    "norm": "Linf",
    "step_sizes": [0.02],
    "steps": [3],
    "n_images": 20,
}


def settings_of(stimuli: str, **changes: Any) -> ExperimentSettings:
    described = tiny_experiment(seeds=(0, 1)).model_dump(mode="json", exclude_unset=True)
    return ExperimentSettings.model_validate(
        described
        | {
            "recordings": [],
            "network": {"width": 4},
            "sources": {"lab": {"encoders": ["a", "b"], "stimuli": stimuli}},
            "teachers": [
                "none",
                {"kind": "neural_model", "source": "lab", "alphas": [1, 30]},
                {"kind": "shuffle", "source": "lab"},
                {"kind": "pixels", "source": "lab"},
                {"kind": "low_rank", "source": "lab", "rank": 3},
            ],
            "attacks": [PGD],
            "attack_checks": {"n_images": 10},
            "representation": {},
        }
        | changes
    )


def import_encoders() -> str:
    """Two imported encoders and stimuli for them; returns the key of the stimuli."""
    for number, name in enumerate("ab"):
        encoding.FittedEncoder.add_imported(
            name,
            published_encoder(state_of(behaviour=bool(number)), RECIPE, name=name),
            recipe="test",
            source=f"{name}.pth",
            sha256=str(number) * 64,
            species="mouse",
            area="V1",
        )
    training.ImageSet.add(few_digits(), source="test")
    return StimulusSet.add(natural_stimuli(N_STIMULI, SHAPE))


@pytest.fixture(scope="module")
def opened(
    new_tables: Callable[[Path], Settings], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Database]:
    with open_database(new_tables(tmp_path_factory.mktemp("teaching"))) as database:
        add_experiment(settings_of(import_encoders()), name="lab", scale="smoke")
        done = populate.populate(Selection("lab"))
        assert done.failures == []
        yield database


@pytest.fixture(autouse=True)
def _finished(opened: Database) -> None:
    """Every test reads the finished experiment."""


def test_everything_planned_is_computed_and_nothing_else() -> None:
    assert {p.table: (p.done, p.total) for p in populate.progress(Selection("lab", "smoke"))} == {
        "Reliability": (0, 0),
        "SharedCore": (0, 0),
        "FittedEncoder": (0, 0),
        "EncoderScore": (0, 0),
        "PredictedResponses": (2, 2),
        "SimilarityQuality": (0, 0),
        "SimilarityStructure": (0, 0),
        "SimilarityStability": (0, 0),
        "Teacher": (5, 5),
        "TrainedNetwork": (12, 12),
        "SuperclassErrors": (0, 0),
        "LayerActivations": (0, 0),
        "NoiseAccuracy": (12, 12),
        "CorruptionAccuracy": (0, 0),
        "ManipulationAccuracy": (0, 0),
        "LayerSimilarity": (12, 12),
        "NeuralPrediction": (0, 0),
        "ScanPredictivity": (0, 0),
        "AdversarialDistance": (12, 12),
        "AttackChecks": (12, 12),
        "AutoAttackAccuracy": (0, 0),
        "WhiteBoxAccuracy": (0, 0),
        "HybridAnswers": (0, 0),
        "LayerEigenspectrum": (0, 0),
        "FourierSensitivity": (0, 0),
        "FilterTuning": (0, 0),
        "OtherImagesAccuracy": (0, 0),
        "SoftLabelScores": (0, 0),
    }


def teacher_of(kind: str) -> Any:
    key = (teaching.Teacher * (teacher_plan.TeacherConfig & {"teacher": kind})).proj().fetch1()
    return teaching.Teacher.load(key)


def test_imported_encoders_teach_by_their_unweighted_predictions_averaged() -> None:
    teacher = teacher_of("neural_model")
    stimuli = natural_stimuli(N_STIMULI, SHAPE)
    np.testing.assert_array_equal(teacher.stimuli, stimuli)
    predicted = [encoding.FittedEncoder.load(k).predict(stimuli) for k in encoder_keys()]
    weights = [np.ones(p.shape[1]) for p in predicted]
    expected = model_similarity(predicted, weights)
    np.testing.assert_allclose(teacher.similarity, expected, atol=1e-6)
    np.testing.assert_array_equal(teacher.held_out, held_out_stimuli(N_STIMULI, 0.1))


def encoder_keys() -> list[dict[str, Any]]:
    return list(encoding.FittedEncoder().keys(order_by="scan"))


def test_controls_speak_of_the_same_stimuli_and_hold_out_the_same_ones() -> None:
    model = teacher_of("neural_model")
    for kind in ("shuffle", "pixels", "low_rank"):
        control = teacher_of(kind)
        np.testing.assert_array_equal(control.stimuli, model.stimuli)
        np.testing.assert_array_equal(control.held_out, model.held_out)
        assert np.abs(control.similarity - model.similarity).max() > 0.1
    assert np.linalg.matrix_rank(teacher_of("low_rank").similarity, tol=1e-3) == 3


def test_stored_distances_are_those_of_the_attack() -> None:
    key = adversarial_tables.AdversarialDistance().keys(order_by="KEY")[0]
    task = training.ImageSet.load(key)
    found = adversarial_distances(
        training.TrainedNetwork.load(key),
        task.test_images,
        task.test_labels,
        AttackConfig.model_validate(PGD),
    )
    images = (adversarial_tables.AdversarialDistance.Image & key).to_dicts(order_by="image_index")
    assert [row["image_index"] for row in images] == found.index.tolist()
    stored = [np.inf if row["distance"] is None else row["distance"] for row in images]
    np.testing.assert_allclose(stored, found.distance)
    outcomes = {row["outcome"] for row in images}
    assert outcomes <= {"misclassified", "adversarial", "failed"}
    row = (adversarial_tables.AdversarialDistance & key).fetch1()
    assert row["n_failed"] == found.failed.sum()
    assert row["n_misclassified"] == found.misclassified.sum()
    np.testing.assert_allclose(np.asarray(row["curve"]), found.curve, rtol=1e-6)


def test_every_network_is_compared_with_the_brain_before_and_after() -> None:
    by_seed = results.layers_by_seed("lab")
    layers = compared_layers("resnet18")
    assert len(by_seed) == 12 * len(layers) * 2 * 2
    assert by_seed["statistics"].value_counts().tolist() == [12 * len(layers) * 2] * 2
    assert set(by_seed["judge"]) == {"mouse V1"}
    # Before it was taught, a network does not know by whom.
    before = by_seed[~by_seed["trained"].astype(bool)]
    by_network = before.groupby(["seed", "layer", "statistics"])
    assert (by_network["correlation"].nunique() == 1).all()
    key = layers_tables.LayerSimilarity().keys(order_by="KEY")[0]
    judge = teacher_of("neural_model")
    rows = (layers_tables.LayerSimilarity.Layer & key & "trained").to_dicts(order_by="layer_index")
    assert [row["layer"] for row in rows] == list(layers)
    network = training.TrainedNetwork.load(key)
    for statistics, column in (("task", "correlation"), ("stimuli", "correlation_stimuli")):
        expected = compare_layers(
            network, layers, judge, RepresentationConfig(), statistics=statistics
        )
        np.testing.assert_allclose(
            [row[column] for row in rows], [e.correlation for e in expected], atol=1e-5
        )


def test_the_distance_over_seeds_is_their_mean() -> None:
    by_seed, summary = results.adversarial_by_seed("lab"), results.adversarial("lab")
    assert len(by_seed) == 12 and len(summary) == 6
    for _, row in summary.iterrows():
        mine = (by_seed["training_hash"] == row["training_hash"]) & (
            by_seed["teacher_hash"] == row["teacher_hash"]
        )
        assert mine.sum() == row["n_seeds"] == 2
        assert row["median"] == pytest.approx(by_seed.loc[mine, "median"].mean())


def test_differences_are_paired_over_seeds() -> None:
    frame = results.differences("lab")
    accuracy = frame[frame["measure"] == "accuracy, gaussian"]
    # Two neural teachers (alpha 1 and 30), each beside four others, at two levels.
    assert len(accuracy) == 2 * 2 * 4
    assert set(accuracy["n"]) == {2}
    by_seed = results.noise_by_seed("lab").assign(name=lambda f: conditions(f))
    for _, row in accuracy.iterrows():
        at = by_seed[by_seed["level"] == row["level"]].set_index("seed")
        first, second = (at.loc[at["name"] == row[c], "accuracy"] for c in ("first", "second"))
        assert row["difference"] == pytest.approx((first - second).mean())


def test_conditions_are_named_by_what_tells_them_apart() -> None:
    names = set(conditions(results.noise("lab")))
    assert names == {
        "none",
        "neural model, alpha 1",
        "neural model, alpha 30",
        "shuffle, alpha 10",
        "pixels, alpha 10",
        "low rank, alpha 10",
    }


NOT_ASKED = (
    *("superclass-errors", "activations", "neural-prediction", "other-images", "people"),
    *("autoattack", "corruptions", "manipulations", "predictivity"),
    *("consistency", "shape-bias", "soft-labels"),
    *("white-box", "white-box-correlation", "composite", "composite-relations"),
    "hypotheses",
    *("hybrids", "eigenspectrum", "fourier-heat-map", "filter-tuning"),
)
# Of what the experiment asks for.
TABLES = [
    name
    for name, result in registry.results().items()
    if result.table is not None and name not in NOT_ASKED
]


@pytest.mark.parametrize("name", sorted(TABLES))
def test_tables_for_people_have_no_hashes_and_lose_no_condition(name: str) -> None:
    result = registry.results()[name]
    frame = result.read(Selection("lab"))
    assert result.table is not None
    table = result.table(frame)
    assert len(table) and not [c for c in table.columns if str(c).endswith("_hash")]
    text = table.to_csv()
    assert all(kind in text for kind in ("neural model, alpha 30", "shuffle", "none"))


@pytest.mark.parametrize(
    "name",
    ["teachers", "noise", "calibration", "alpha", "adversarial", "layers", "layer-weights"],
)
def test_figures_show_something(name: Any, tmp_path: Path) -> None:
    path = tmp_path / f"{name}.png"
    figures.draw(name, path, Selection("lab"))
    image = matplotlib.image.imread(path)
    assert path.stat().st_size > 10_000
    assert image[..., :3].std() > 0.05


def test_reduced_scale_is_said_of_experiments_that_fit_no_encoder() -> None:
    assert caveat(Selection("lab")) == "at reduced scale (smoke)"


def test_calibration_and_confidence_are_kept() -> None:
    frame = results.noise("lab")
    assert frame["confidence"].between(0.1, 1).all()
    assert frame["calibration_error"].between(0, 1).all()
    assert set(frame["noise"]) == {"gaussian"}


def test_layer_weights_are_a_distribution_over_layers_in_every_epoch() -> None:
    frame = results.layer_weights("lab")
    assert set(frame["teacher"]) == {"neural_model", "shuffle", "pixels", "low_rank"}
    total = frame.groupby(["training_hash", "teacher_hash", "seed", "epoch"])["weight"].sum()
    np.testing.assert_allclose(total, 1, atol=1e-5)
