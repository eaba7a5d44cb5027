"""What `neuroteach explain` says of a row."""

from __future__ import annotations

from rich.text import Text

from pipeline.cli.query import _label
from pipeline.query.provenance import Node


def test_a_row_names_the_packages_whose_parts_it_was_computed_with() -> None:
    origins = [
        {"name": "mylab_net", "distribution": "mylab-parts", "version": "1.2", "digest": "0" * 16},
        {"name": "mine:Pull", "distribution": "", "version": "", "digest": "1" * 16},
    ]
    node = Node("TrainedNetwork", {"seed": 0}, documents={"origins": origins, "layers": ["V1"]})
    assert Text.from_markup(_label(node)).plain.splitlines() == [
        "TrainedNetwork seed=0",
        "origins: mylab_net of mylab-parts 1.2, mine:Pull of a module of no package",
        'layers: ["V1"]',
    ]
