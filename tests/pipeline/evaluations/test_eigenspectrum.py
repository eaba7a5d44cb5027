"""Exponents of eigenspectra: asked for in a file, computed, read and drawn."""

from __future__ import annotations

import numpy as np
import pytest

from neuroteach import results
from pipeline.database.opening import Database
from pipeline.evaluations.eigenspectrum import EIGENSPECTRUM
from pipeline.experiments.adding import add_experiment
from pipeline.experiments.content import ExperimentError
from pipeline.experiments.file import ExperimentSettings
from pipeline.experiments.selection import Selection
from pipeline.workers import populate
from regularized_training.alignment.eigenspectrum import eigenspectra
from regularized_training.alignment.eigenspectrum_config import EigenspectrumConfig
from schemas import training
from schemas.evaluations.eigenspectrum import LayerEigenspectrum
from tests.tiny_experiment import few_digits, tiny_experiment

RANKS = {"first_rank": 3, "last_rank": 15, "n_images": 40}
ASKED = [{**RANKS, "layers": ["stage2", "stem"]}, {**RANKS, "n_images": 20, "layers": ["stem"]}]


def asked(**changes: object) -> ExperimentSettings:
    described = tiny_experiment().model_dump(mode="json", exclude_unset=True)
    described |= {"recordings": [], "network": {"width": 2}, "noise": [], "seeds": [0, 1]}
    described |= {"teachers": ["none"], "eigenspectrum": ASKED}
    return ExperimentSettings.model_validate(described | changes)


@pytest.mark.database
def test_exponents_of_layers_are_computed_read_and_drawn(database: Database) -> None:
    training.ImageSet.add(few_digits(), source="test")
    with pytest.raises(ExperimentError, match="n_images: 60, but image set 'digits' has 50 test"):
        add_experiment(asked(eigenspectrum={**RANKS, "n_images": 60}), name="x", scale="smoke")
    assert add_experiment(asked(), name="spectra", scale="smoke")
    assert populate.populate(Selection("spectra")).failures == []
    row = (LayerEigenspectrum & "n_images = 40").to_dicts()[0]
    key = {name: row[name] for name in LayerEigenspectrum.primary_key}
    stored = (LayerEigenspectrum.Layer & key).to_dicts(order_by="layer_index")
    network, task = training.TrainedNetwork.load(row), few_digits()
    layers = tuple(one["layer"] for one in stored)
    assert set(layers) == {"stem", "stage2"}
    config = EigenspectrumConfig.model_validate(ASKED[0])
    expected = eigenspectra(network, layers, task.test_images, task.test_labels, config)
    for one, found in zip(stored, expected, strict=True):
        assert found.law is not None and one["exponent"] == pytest.approx(found.law.exponent)
        assert one["r2"] == pytest.approx(found.law.r2) and one["n_features"] == found.n_features
        np.testing.assert_allclose(np.asarray(one["variances"]), found.variances)

    frame = results.eigenspectrum("spectra")
    assert sorted(frame["name"]) == ["stage2", "stem", "stem (2)"]
    assert set(frame["n_seeds"]) == {2} and len(results.eigenspectrum_by_seed("spectra")) == 6
    table = EIGENSPECTRUM.table(frame)  # type: ignore[misc]
    assert set(table["ranks"]) == {"3 to 15"} and set(table["n_images"]) == {20, 40}
    drawn = EIGENSPECTRUM.figures["eigenspectrum"](Selection("spectra"))
    panels = [ax for part in drawn.subfigs for ax in part.subfigs[1].axes]
    assert {"stem", "stage2"} <= {ax.get_title() for ax in panels}


def test_ranks_and_layers_that_cannot_be_are_refused_in_the_file() -> None:
    with pytest.raises(ValueError, match="eigenspectrum.*expected more than last_rank"):
        asked(eigenspectrum={"n_images": 400})
    with pytest.raises(ValueError, match="stage9 are not among those of resnet18"):
        asked(eigenspectrum={**RANKS, "layers": ["stage9"]})
