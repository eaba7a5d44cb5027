"""Do networks that classify better resemble the brain more? Relations of Kubilius et al. 2019.

Two tables of scores that others published: those of the paper's repository (243 networks, of which
181 are BaseNets, checkpoints of small networks in training), and those of Brain-Score's site (79
entries, 7 benchmarks; two of them copies of AlexNet, which are left out). Brain-Score here is the
paper's: the mean of V4, IT and behaviour.

    python experiments/brain_score_relations.py kubilius2019_data.csv scores.csv

Prints each relation beside its published number, the place of CORnet-S and how sure that is; with
``--figure`` also draws accuracy against Brain-Score, as Fig. 1 of the paper.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from predictive_model.scoring.bootstrap import percentile_intervals
from regularized_training.analysis.correlation import (
    Correlation,
    correlation,
    partial_correlation,
)

PARTS = ("V4", "IT", "behaviour")  # of the paper's Brain-Score
BORDER = 0.7  # of ImageNet accuracy
BENCHMARKS = {
    "movshon.FreemanZiemba2013.V1-pls": "V1",
    "movshon.FreemanZiemba2013.V2-pls": "V2",
    "dicarlo.MajajHong2015.V4-pls": "V4",
    "dicarlo.MajajHong2015.IT-pls": "IT",
    "dicarlo.Rajalingham2018-i2n": "behaviour",
    "fei-fei.Deng2009-top1": "ImageNet",
}
COLUMNS = {
    "Behavior": "behaviour",
    "IT (new data)": "IT, new subjects",
    "IT (new images)": "IT, new images",
    "Behavior (new data)": "behaviour, new objects",
}


COPIES = ("alexnet1", "alexnet2")  # with AlexNet's scores, as far as they have any
FEWEST = 6  # networks that a correlation is given of


@dataclass(frozen=True)
class Relation:
    """Of two measures, over networks ``below`` the border of accuracy, not below it, or all."""

    x: str
    y: str
    published: str = ""
    side: str = ""
    given: str = ""

    @property
    def name(self) -> str:
        """What is printed."""
        side = {"below": ", below 70 %", "above": ", 70 % and above"}.get(self.side, "")
        return f"{self.x}, {self.y}{side}" + (f", given {self.given}" if self.given else "")


BOTH = (
    Relation("ImageNet", "Brain-Score", ".92", "below"),
    Relation("ImageNet", "Brain-Score", "none", "above"),
    Relation("V4", "behaviour", ".65"),
    Relation("IT", "behaviour", ".87"),
    Relation("V4", "IT"),
    Relation("V4", "behaviour", given="ImageNet"),
    Relation("IT", "behaviour", given="ImageNet"),
    Relation("V4", "IT", given="ImageNet"),
    Relation("simplicity", "Brain-Score"),
    Relation("simplicity", "ImageNet"),
    Relation("simplicity", "Brain-Score", given="ImageNet"),
)
OF_PAPER = (
    Relation("IT", "IT, new subjects", ".93"),
    Relation("IT", "IT, new images", ".76"),
    Relation("behaviour", "behaviour, new objects", ".83"),
    Relation("Brain-Score", "CIFAR-100", ".69"),
    Relation("V4 number of features", "V4", "none"),
    Relation("IT number of features", "IT", "none"),
)
OF_SITE = (
    Relation("ImageNet", "V1"),
    Relation("ImageNet", "V2"),
    Relation("V1", "behaviour"),
    Relation("V1", "IT"),
)


def read_paper(file: Path) -> pd.DataFrame:
    """A row for each network of the paper's repository: scores, family, whether a BaseNet."""
    frame = pd.read_csv(file).rename(columns={"Model": "model"} | COLUMNS)
    frame = frame.rename(columns={"Brain-Score": "with OST"})
    frame["basenet"] = frame["model"].str.startswith("BaseNet")
    # Checkpoints of one training are one family.
    frame["family"] = np.where(
        frame["basenet"],
        frame["model"].str.split("--").str[0],
        frame["model"].map(_family),
    )
    # BaseNets have six layers each: together with others, they would say only how they differ.
    frame["simplicity"] = 1 / np.log(frame["Depth"].mask(frame["basenet"]))
    return _with_brain_score(frame)


def read_site(file: Path, paper: pd.DataFrame) -> pd.DataFrame:
    """A row for each network of the site: ceiled scores, errors; depths are those of the paper."""
    scores = pd.read_csv(file)
    wanted = scores["benchmark"].isin(BENCHMARKS) & ~scores["model"].isin(COPIES)
    scores = scores.loc[wanted]
    names = scores["benchmark"].map(BENCHMARKS)
    wide, errors = (
        scores.assign(name=names).pivot(index="model", columns="name", values=column)
        for column in ("score_ceiled", "error")
    )
    accuracy = scores.loc[names == "ImageNet"].set_index("model")["score_raw"]
    frame = wide.assign(ImageNet=accuracy).join(errors.add_suffix(" error")).reset_index()
    frame["basenet"] = False
    frame["family"] = frame["model"].map(_family)
    depths = dict(zip(paper["model"].map(_plain), paper["simplicity"], strict=True))
    frame["simplicity"] = frame["model"].map(_plain).map(depths)
    return _with_brain_score(frame)


def _with_brain_score(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(**{"Brain-Score": frame[list(PARTS)].mean(axis=1, skipna=False)})


def _plain(name: str) -> str:
    return name.lower().replace(" ", "_")


def _family(name: str) -> str:
    """Letters that a name starts with: MobileNets of all widths are one family."""
    plain = _plain(name).replace("fixres_", "")
    for known in ("cornet-s", "cornet-z", "mobilenet_v1", "mobilenet_v2", "resnext", "vggface"):
        if plain.startswith(known):
            return known
    return plain.rstrip("_-0123456789.v").split("-")[0].split("_")[0].rstrip("0123456789")


def values_of(frame: pd.DataFrame, relation: Relation) -> pd.DataFrame:
    """The networks that a relation is over, without those that were not measured."""
    if relation.side:
        below = frame["ImageNet"] < BORDER
        frame = frame.loc[below if relation.side == "below" else ~below]
    columns = dict.fromkeys([relation.x, relation.y, *filter(None, [relation.given]), "family"])
    return frame[list(columns)].dropna()


def relate(frame: pd.DataFrame, relation: Relation) -> Correlation:
    """The correlation of one relation, over these networks."""
    values = values_of(frame, relation)
    if relation.given:
        return partial_correlation(values[relation.x], values[relation.y], values[relation.given])
    return correlation(values[relation.x], values[relation.y])


def interval_over_families(frame: pd.DataFrame, relation: Relation) -> tuple[float, float]:
    """Percentile bootstrap that draws whole families, whose members are no independent samples."""
    values = values_of(frame, relation)
    names = [name for name in (relation.x, relation.y, relation.given) if name]
    groups = [rows[names].to_numpy() for _, rows in values.groupby("family")]

    def statistic(drawn: NDArray[np.int64]) -> float:
        rows = np.concatenate([groups[place] for place in drawn])
        if (np.ptp(rows, axis=0) < 1e-9).any() or len(rows) < FEWEST:
            return np.nan
        r = np.corrcoef(rows.T)
        if not relation.given:
            return float(r[0, 1])
        left = (1 - r[0, 2] ** 2) * (1 - r[1, 2] ** 2)
        return float((r[0, 1] - r[0, 2] * r[1, 2]) / np.sqrt(left)) if left > 1e-9 else np.nan

    low, high = percentile_intervals(statistic, len(groups))[0]
    return float(low), float(high)


@dataclass(frozen=True)
class Place:
    """Rank of a network by the mean of some benchmarks, 1 for the best, and an interval of it."""

    rank: int
    low: int
    high: int
    first: float
    n: int


def place_of(
    frame: pd.DataFrame,
    parts: Sequence[str] = PARTS,
    *,
    model: str = "CORnet-S",
    over: str = "benchmarks",
    n_resamples: int = 10_000,
    seed: int = 0,
) -> Place:
    """Rank of a network where benchmarks are drawn with replacement, or scores by their errors.

    Errors are taken for standard errors, independent over networks and benchmarks.
    """
    known = frame.dropna(subset=list(parts)).reset_index(drop=True)
    scores = known[list(parts)].to_numpy()
    at = int(np.flatnonzero(known["model"] == model)[0])
    rng = np.random.default_rng(seed)
    if over == "benchmarks":
        drawn = rng.integers(0, len(parts), (n_resamples, len(parts)))
        means = scores[:, drawn].mean(2).T
    else:
        errors = known[[f"{part} error" for part in parts]].to_numpy()
        noise = rng.normal(size=(n_resamples, *scores.shape)) * errors
        means = (scores + noise).mean(2)
    ranks = 1 + (means > means[:, [at]]).sum(1)
    low, high = np.quantile(ranks, [0.025, 0.975], method="nearest").astype(int)
    mean = scores.mean(1)
    return Place(
        int(1 + (mean > mean[at]).sum()), int(low), int(high), float((ranks == 1).mean()), len(mean)
    )


def main(
    paper: Annotated[Path, typer.Argument(help="kubilius2019_data.csv of the repository.")],
    site: Annotated[Path, typer.Argument(help="Scores of Brain-Score's site (CSV).")],
    figure: Annotated[Path | None, typer.Option(help="Also draw it.")] = None,
) -> None:
    """Print the tables; a few seconds."""
    of_paper = read_paper(paper)
    of_site = read_site(site, of_paper)
    networks = of_paper.loc[~of_paper["basenet"]]
    basenets = of_paper.loc[of_paper["basenet"]]
    pools = {"all": of_paper, "without BaseNets": networks, "BaseNets": basenets}
    _print_relations("The paper's table", pools, (*BOTH, *OF_PAPER))
    _print_relations("Brain-Score's site", {"all": of_site}, (*BOTH, *OF_SITE))
    _print_places(of_paper, of_site)
    if figure is not None:
        _draw(of_paper, of_site, figure)


def _print_relations(
    title: str, pools: dict[str, pd.DataFrame], relations: Sequence[Relation]
) -> None:
    table = Table(title=title)
    for column in ("relation", "published", "networks", "n", "r", "95 %", "over families", "p"):
        table.add_column(column, justify="left" if column == "relation" else "right")
    for relation in relations:
        printed: set[int] = set()
        for pool, frame in pools.items():
            n = len(values_of(frame, relation))
            if n < FEWEST or n in printed:  # as where all that have a score are no BaseNets
                continue
            found, families = relate(frame, relation), interval_over_families(frame, relation)
            table.add_row(
                "" if printed else relation.name,
                "" if printed else relation.published,
                pool,
                str(found.n),
                f"{found.r:.3f}",
                f"{found.low:.2f}, {found.high:.2f}",
                f"{families[0]:.2f}, {families[1]:.2f}",
                f"{found.p:.1e}",
            )
            printed.add(n)
    Console(width=140).print(table)


def _print_places(of_paper: pd.DataFrame, of_site: pd.DataFrame) -> None:
    table = Table(title="Rank of CORnet-S")
    for column in ("table", "mean of", "drawn", "n", "rank", "95 %", "first in"):
        table.add_column(column, justify="right")
    more = ("V1", "V2", *PARTS)
    for name, frame, parts, over in (
        ("paper", of_paper, PARTS, "benchmarks"),
        ("paper", of_paper, (*PARTS, "OST"), "benchmarks"),
        ("site", of_site, PARTS, "benchmarks"),
        ("site", of_site, PARTS, "scores"),
        ("site", of_site, more, "benchmarks"),
        ("site", of_site, more, "scores"),
        *(("site", of_site, (part,), "scores") for part in more),
    ):
        found = place_of(frame, parts, over=over)
        table.add_row(
            name,
            ", ".join(parts),
            over,
            str(found.n),
            str(found.rank),
            f"{found.low} to {found.high}",
            f"{found.first:.1%}",
        )
    Console(width=140).print(table)


def _draw(of_paper: pd.DataFrame, of_site: pd.DataFrame, path: Path) -> None:
    """Accuracy against Brain-Score, in both tables."""
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(7.4, 3.4), layout="constrained")
    axes = drawn.subplots(1, 2)
    for ax, frame, title in zip(
        axes, (of_paper, of_site), ("Kubilius et al. 2019", "Brain-Score's site"), strict=True
    ):
        styles: dict[str, tuple[Any, dict[str, Any]]] = {
            "BaseNets in training": (frame["basenet"], {"color": "0.7", "s": 8}),
            "networks": (~frame["basenet"], {"color": "#0072B2", "s": 12}),
            "CORnet-Z": (frame["model"] == "CORnet-Z", {"color": "#009E73", "s": 40}),
            "CORnet-S": (frame["model"] == "CORnet-S", {"color": "#D55E00", "s": 70}),
        }
        for label, (rows, style) in styles.items():
            if rows.any():
                shown = frame.loc[rows]
                marker = "*" if label.startswith("CORnet") else "o"
                ax.scatter(
                    100 * shown["ImageNet"],
                    shown["Brain-Score"],
                    linewidths=0,
                    marker=marker,
                    label=label,
                    **style,
                )
        ax.axvline(100 * BORDER, color="0.7", linewidth=0.8, linestyle=":")
        said = [relate(frame, relation) for relation in BOTH[:2]]
        ax.set_title(
            f"{title}\nr = {said[0].r:.2f} (n = {said[0].n}) below 70 %, "
            f"{said[1].r:.2f} (n = {said[1].n}) from there",
            fontsize=8,
        )
        ax.set(xlabel="ImageNet accuracy, %", ylabel="mean of V4, IT and behaviour")
        ax.legend(frameon=False, fontsize=7, loc="lower right")
    drawn.savefig(path, dpi=130)


if __name__ == "__main__":
    typer.run(main)
