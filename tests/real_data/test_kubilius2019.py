"""Relations between published scores of networks, as Kubilius et al. 2019 report them."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "experiments" / "brain_score_relations.py"


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(SCRIPT), run_name="imported")


@pytest.fixture(scope="module")
def paper(script: dict[str, Any], data_folder: Path) -> pd.DataFrame:
    return script["read_paper"](data_folder / "brainscore_pins" / "kubilius2019_data.csv")


@pytest.fixture(scope="module")
def site(script: dict[str, Any], data_folder: Path, paper: pd.DataFrame) -> pd.DataFrame:
    return script["read_site"](data_folder / "brainscore_scores" / "scores.csv", paper)


@pytest.mark.parametrize(
    ("x", "y", "side", "networks", "n", "r", "low", "high"),
    [
        ("ImageNet", "Brain-Score", "below", "all", 214, 0.899, 0.870, 0.922),
        ("ImageNet", "Brain-Score", "below", "published", 37, 0.904, 0.819, 0.950),
        ("ImageNet", "Brain-Score", "above", "all", 24, 0.281, -0.138, 0.615),
        ("V4", "behaviour", "", "all", 238, 0.436, 0.327, 0.534),
        ("V4", "behaviour", "", "basenets", 177, 0.644, 0.548, 0.723),
        ("IT", "behaviour", "", "all", 238, 0.862, 0.825, 0.891),
        ("V4", "IT", "", "all", 238, 0.694, 0.621, 0.754),
        ("IT", "IT, new subjects", "", "all", 45, 0.865, 0.765, 0.924),
        ("behaviour", "behaviour, new objects", "", "all", 45, 0.854, 0.748, 0.918),
    ],
)
def test_relations_of_the_papers_table(
    script: dict[str, Any],
    paper: pd.DataFrame,
    x: str,
    y: str,
    side: str,
    networks: str,
    n: int,
    r: float,
    low: float,
    high: float,
) -> None:
    pools = {
        "all": paper,
        "published": paper[~paper["basenet"]],
        "basenets": paper[paper["basenet"]],
    }
    found = script["relate"](pools[networks], script["Relation"](x, y, side=side))
    assert found.n == n
    assert (found.r, found.low, found.high) == pytest.approx((r, low, high), abs=6e-4)


def test_v4_goes_with_behaviour_only_as_both_go_with_accuracy(
    script: dict[str, Any], paper: pd.DataFrame
) -> None:
    relation = script["Relation"]
    v4 = script["relate"](paper, relation("V4", "behaviour", given="ImageNet"))
    it = script["relate"](paper, relation("IT", "behaviour", given="ImageNet"))
    assert v4.r == pytest.approx(0.004, abs=6e-4)
    assert it.r == pytest.approx(0.452, abs=6e-4)
    assert v4.low < 0 < v4.high < it.low


def test_the_site_has_the_same_relation_below_70_percent_and_none_above(
    script: dict[str, Any], site: pd.DataFrame
) -> None:
    relation = script["Relation"]
    below = script["relate"](site, relation("ImageNet", "Brain-Score", side="below"))
    above = script["relate"](site, relation("ImageNet", "Brain-Score", side="above"))
    assert (below.n, above.n) == (42, 34)
    assert (below.r, above.r) == pytest.approx((0.900, -0.143), abs=6e-4)
    assert above.low < 0 < above.high


def test_cornet_s_is_second_and_first_only_with_a_benchmark_that_feedforward_networks_lack(
    script: dict[str, Any], paper: pd.DataFrame, site: pd.DataFrame
) -> None:
    place_of, parts = script["place_of"], script["PARTS"]
    assert place_of(paper).rank == 2  # as published, after DenseNet-169
    assert place_of(paper, (*parts, "OST")).rank == 1
    assert (paper.loc[paper["model"] != "CORnet-S", "OST"] == 0).all()
    found = place_of(site, over="scores", n_resamples=1000)
    assert found.rank == 11 and 1 < found.low < 11 < found.high
    assert place_of(site, ("V1",)).rank == 76


def test_simplicity_is_that_of_the_papers_second_table(paper: pd.DataFrame) -> None:
    published = {"AlexNet": 0.48, "VGG-16": 0.36, "VGG-19": 0.34, "ResNet-18": 0.35}
    published |= {"IamNN": 0.38, "MobileNet v1_1.0_224": 0.27, "CORnet-S": 0.37}
    simplicity = paper.set_index("model")["simplicity"]
    for name, value in published.items():
        assert simplicity[name] == pytest.approx(value, abs=0.006), name
