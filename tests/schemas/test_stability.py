"""Stability and structure of similarity in the database: what is compared, and what is said."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from neuroteach import results
from pipeline.database.opening import Database, open_database
from pipeline.database.settings import Settings
from pipeline.experiments.adding import add_experiment
from pipeline.experiments.file import ExperimentSettings
from pipeline.experiments.selection import Selection
from pipeline.figures.stability import _coarser
from pipeline.results import arrays as result_arrays
from pipeline.results.registry import figures
from pipeline.workers import populate
from predictive_model.recordings.recording import Recording
from predictive_model.recordings.simulation import SimulatedCortex, SimulatedCortexConfig
from predictive_model.recordings.stimuli import natural_stimuli
from regularized_training.teachers.populations import population, split_units
from regularized_training.teachers.similarity import oracle_similarity
from regularized_training.teachers.stability import stability
from schemas import encoding, recording, training
from schemas.similarity import SimilarityStability, SimilarityStructure
from tests.tiny_experiment import SHAPE, few_digits, tiny_experiment

pytestmark = pytest.mark.database

EXPERIMENTS = {
    "pair": ["a", "b"],
    "alone": ["a"],
    "once": ["once"],
    "strangers": ["a", "elsewhere"],
    "mixed": ["b", "once"],
}


def scan(name: str, seed: int, *, repeated: int = 8, images: int = 0) -> Recording:
    """Eight neurons that see some images four times and others once."""
    config = SimulatedCortexConfig(n_neurons=8, image_shape=SHAPE, width=(6, 10))
    return SimulatedCortex(config, seed=seed).record(
        natural_stimuli(40, SHAPE, seed=images),
        n_repeated=repeated,
        n_repeats=4 if repeated else 1,
        seed=seed,
        name=name,
    )


SCANS = {
    "a": scan("a", 0),
    "b": scan("b", 1),
    "once": scan("once", 2, repeated=0),
    "elsewhere": scan("elsewhere", 3, images=1),
}


@pytest.fixture(scope="module")
def opened(
    new_tables: Callable[[Path], Settings], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Database]:
    with open_database(new_tables(tmp_path_factory.mktemp("stability"))) as database:
        for scan in SCANS.values():
            recording.Scan.add(scan, source="test")
        training.ImageSet.add(few_digits(), source="test")
        for name, scans in EXPERIMENTS.items():
            changed = tiny_experiment().model_dump() | {"recordings": scans}
            settings_ = ExperimentSettings.model_validate(changed)
            add_experiment(settings_, name=name, scale="smoke")
        # Networks have nothing to do with it.
        for table in (encoding.FittedEncoder, SimilarityStructure, SimilarityStability):
            assert table.populate()["error_list"] == []
        yield database


@pytest.fixture(autouse=True)
def _computed(opened: Database) -> None:
    """Every test starts from the computed tables."""


def row_of(experiment: str) -> dict[str, Any]:
    (row,) = result_arrays.stability_matrices(Selection(experiment))
    return row


def test_scans_of_the_same_images_are_compared_with_each_other() -> None:
    row = row_of("pair")
    assert (row["status"], row["n_populations"], row["n_images"]) == ("scans", 2, 8)
    assert (row["scans"], row["simulated"], row["parts_seed"]) == ("a, b", True, None)
    expected = stability([population(SCANS["a"]), population(SCANS["b"])])
    assert expected.scan is not None and expected.repeat is not None
    assert row["scan_sd"] == pytest.approx(expected.scan.sd)
    assert row["repeat_sd"] == pytest.approx(expected.repeat.sd)
    assert row["neuron_sd"] == pytest.approx(expected.neuron_sd)
    assert np.allclose(row["scan_density"], expected.scan_density)
    for part, matrix in zip(row["populations"], expected.oracle, strict=True):
        assert np.allclose(part["oracle_matrix"], matrix, atol=1e-6)
        assert part["model_matrix"].shape == (8, 8)
    assert [(p["scan"], p["part"], p["n_neurons"]) for p in row["populations"]] == [
        ("a", 0, 8),
        ("b", 0, 8),
    ]


@pytest.mark.parametrize(("experiment", "scan"), [("alone", "a"), ("mixed", "b")])
def test_the_only_scan_with_repeats_is_divided_into_parts(experiment: str, scan: str) -> None:
    row = row_of(experiment)
    assert (row["status"], row["scans"], row["parts_seed"]) == ("parts of one scan", scan, 0)
    expected = stability(split_units(population(SCANS[scan])), same_trials=True)
    assert expected.scan is not None
    assert row["scan_sd"] == pytest.approx(expected.scan.sd)
    assert row["trial_sd"] == pytest.approx(expected.trial_sd)
    assert [(p["scan"], p["part"], p["n_neurons"]) for p in row["populations"]] == [
        (scan, 1, 4),
        (scan, 2, 4),
    ]


def test_scans_of_different_images_are_described_but_not_compared() -> None:
    row = row_of("strangers")
    assert (row["status"], row["n_images"]) == ("no common images", 0)
    assert row["scan_sd"] is row["repeat_sd"] is row["edges"] is None
    assert len(row["populations"]) == 2
    for part in row["populations"]:
        p = population(SCANS[part["scan"]])
        assert np.allclose(part["oracle_matrix"], oracle_similarity(p.trials, p.weight), atol=1e-6)
        assert part["repeat_sd"] > 0


def test_without_repeats_there_is_no_spread_but_a_structure() -> None:
    row = row_of("once")
    assert (row["status"], row["n_populations"], row["scans"]) == ("no repeats", 0, "")
    assert row["populations"] == []
    (structure,) = result_arrays.similarity_structures(Selection("once"))
    assert (structure["status"], structure["tier"]) == ("no repeats", "validation")
    assert structure["oracle_matrix"] is structure["oracle_dimension"] is None
    assert not structure["weighted"]
    assert structure["recorded_matrix"].shape == structure["model_matrix"].shape == (4, 4)
    assert structure["model_dimension"] >= 1


def test_results_have_a_row_for_each_experiment_and_for_each_encoder() -> None:
    frame = results.stability()
    assert sorted(frame["experiment"]) == sorted(EXPERIMENTS)
    frame = frame.set_index("experiment")
    ratio = frame.loc["pair", "scan_sd"] / frame.loc["pair", "repeat_sd"]
    assert frame.loc["pair", "ratio"] == pytest.approx(ratio)
    assert frame.loc[["once", "strangers"], "ratio"].isna().all()
    spectra = results.spectra()
    assert sorted(spectra["scan"]) == sorted(SCANS)
    assert (spectra["model_range"] > 0).all()
    assert results.spectra("alone")["scan"].tolist() == ["a"]
    assert results.stability("alone")["experiment"].tolist() == ["alone"]


def test_progress_counts_experiments_and_encoders() -> None:
    done = {p.table: (p.done, p.total) for p in populate.progress()}
    assert done["SimilarityStability"] == (5, 5)
    assert done["SimilarityStructure"] == (4, 4)
    done = {p.table: (p.done, p.total) for p in populate.progress(Selection("pair"))}
    assert (done["SimilarityStability"], done["SimilarityStructure"]) == ((1, 1), (2, 2))


def text_in(name: str, experiment: str | None = None) -> str:
    drawn = figures()[name](Selection(experiment))
    return "\n".join(text.get_text() for text in drawn.findobj(Text))


def test_the_figure_of_stability_says_what_was_compared_in_each_experiment() -> None:
    text = text_in("stability")
    halves = "2 random parts of the units of one scan, which saw the same trials"
    for said in (
        "pair (smoke): simulated a, b; scans of the same images",
        f"alone (smoke): simulated a; {halves}",
        "once (smoke): no repeated images: recorded and model similarity only",
        "strangers (smoke): simulated a, elsewhere; no repeated images in common",
        f"mixed (smoke): simulated b; {halves}",
        "not in here, as no image was repeated: once",
        "the brain was simulated",
        "at reduced scale (smoke)",
    ):
        assert said in text
    found = results.stability().set_index("experiment").loc["pair"]
    assert f"over scans (Eq. 4), sd {found['scan_sd']:.3f}" in text
    assert f"over repeats (Eq. 5), corrected sd {found['repeat_sd']:.3f}" in text


@pytest.mark.parametrize("name", ["spectra", "pairs"])
def test_figures_of_structure_show_scans_with_and_without_repeats(
    name: str,
) -> None:
    text = text_in(name, "mixed")
    assert "simulated scan b, 8 images, test tier" in text
    assert "simulated scan once, 4 images, validation tier" in text
    assert text.count("no repeats: neurons not weighted by reliability") == 1
    assert "the brain was simulated" in text


@pytest.mark.parametrize("experiment", ["alone", "pair", None])
def test_the_title_of_spectra_fits_the_figure(experiment: str | None) -> None:
    drawn = figures()["spectra"](Selection(experiment))
    canvas = FigureCanvasAgg(drawn)
    canvas.draw()
    extent = drawn._suptitle.get_window_extent(canvas.get_renderer())  # type: ignore[attr-defined]
    assert extent.x0 >= 0 and extent.x1 <= drawn.bbox.width


def test_figures_name_the_line_of_equal_similarity_and_what_is_not_repeated() -> None:
    assert "equal" in text_in("stability", "pair").splitlines()
    assert "no image twice among either" in text_in("pairs", "pair")


def test_few_pairs_are_drawn_in_few_bins_of_the_same_area() -> None:
    edges = np.linspace(-3, 3, 101)
    values = np.random.default_rng(0).normal(size=100_000)
    density = np.histogram(values[:28], edges, density=True)[0]
    coarse, wide = _coarser(density, edges, 1.0, 28)
    assert len(coarse) == 10 and len(wide) == 11
    assert (coarse * np.diff(wide)).sum() == pytest.approx(1)
    fine = np.histogram(values, edges, density=True)[0]
    np.testing.assert_array_equal(_coarser(fine, edges, 1.0, 100_000)[0], fine)
