"""Evaluations: how they are declared, and what they record beside their results."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest

from pipeline.database.opening import Database
from pipeline.experiments.adding import add_experiment
from pipeline.experiments.selection import Selection
from pipeline.workers import populate
from regularized_training.networks.config import NetworkConfig
from schemas.base import schema
from schemas.evaluations.base import EVALUATIONS, Evaluation
from schemas.evaluations.noise import NoiseAccuracy
from schemas.training import ImageSet, TrainedNetwork
from tests.installed_package import installed_package
from tests.tiny_experiment import few_digits, tiny_experiment

OTHER = "MirrorPlan"
CODE = """
from torch import nn

def net(n_channels, n_classes, *, width=4):
    return nn.Sequential(
        nn.Conv2d(n_channels, width, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(width, n_classes),
    )
"""
OFFERS = {"neuroteach.networks": "mylab_net = mylab_nets:net"}


@pytest.mark.database
def test_an_evaluation_says_whose_network_it_ran_and_that_it_has_changed_since_training(
    database: Database, tmp_path: Path
) -> None:
    ImageSet.add(few_digits(), source="test")
    network = NetworkConfig(architecture="mylab_net", width=4)
    alone = {"recordings": (), "network": network}
    site = tmp_path / "site"
    site.mkdir()
    with installed_package(site, "mylab_nets", CODE, OFFERS) as file:
        add_experiment(tiny_experiment().model_copy(update=alone), name="lab", scale="smoke")
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message="network 'mylab_net'")
            assert populate.populate(Selection("lab")).failures == []
        trained, evaluated = (t().fetch1("origins") for t in (TrainedNetwork, NoiseAccuracy))
        assert evaluated == trained
        (origin,) = evaluated
        assert (origin["name"], origin["distribution"]) == ("mylab_net", "mylab-nets")

        file.write_text(CODE + "\n# another function, perhaps\n")
        (NoiseAccuracy & NoiseAccuracy.keys()).delete(prompt=False)
        message = f"network 'mylab_net': of mylab-nets 1.2 .* with that of .*{origin['digest']}"
        with pytest.warns(UserWarning, match=message):
            assert populate.populate(Selection("lab")).failures == []
        (again,) = NoiseAccuracy().fetch1("origins")
        assert again["digest"] not in ("", origin["digest"])


@pytest.mark.parametrize(
    ("table", "declared", "said"),
    [
        ("Mirror", {"name": "noise"}, "'noise': .* and schemas.evaluations.noise both have it"),
        ("Mirror", {"settings": NoiseAccuracy.settings}, "'mirror': settings and plan='', exp"),
        ("Mirror", {"plan": OTHER}, "'mirror': settings and plan='MirrorPlan', expected both or"),
        (
            "Mirror",
            {"settings": NoiseAccuracy.settings, "plan": OTHER},
            "table NoiseConfig alr",
        ),
        ("Scan", {}, "'mirror': there is a table Scan already"),
    ],
)
def test_an_evaluation_that_cannot_be_declared_says_why(
    table: str, declared: dict[str, Any], said: str
) -> None:
    before, tables = set(EVALUATIONS), len(schema.declare_list)
    with pytest.raises(ValueError, match=said):
        type(Evaluation)(
            table, (Evaluation,), {"__module__": __name__}, **{"name": "mirror"} | declared
        )
    assert set(EVALUATIONS) == before and len(schema.declare_list) == tables
