"""Networks judged by recordings: neural predictivity beside its ceiling."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pipeline.experiments.selection import Selection
from pipeline.figures.curves import styled
from pipeline.figures.drawing import new_panels, with_caveat
from pipeline.results.conditions import numbered, settings
from pipeline.results.frames import ORDER, network_frame, over_seeds, sort_frame
from pipeline.results.registry import Compared, Drawing, Result, register
from pipeline.results.rows import read_rows
from pipeline.results.tables import summary_table
from schemas.evaluations.predictivity import ScanPredictivity
from schemas.recording import Scan
from schemas.teacher_plan import ScanGroup

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCORES = ["score", "score_low", "score_high", "reliability", "explained", "ratio"]
KEYS = ["predictivity_hash"]
OF_SCAN = ["judge", "scan", "area", "metric"]
IMPOSSIBLE = 1.05  # of a ceiling, as alignment.ceiled says
PANELS = 3  # of the figure, in a row


def predictivity_by_seed(selection: Selection) -> pd.DataFrame:
    """How well networks predict the neurons of scans, a row per network, scan and settings.

    Returns
    -------
    DataFrame
        ``judge`` is the scan with the metric, ``layer`` the one that is scored, ``chosen`` whether
        on other images from several. ``score`` has an interval over neurons (95 %), from
        ``score_low`` to ``score_high``; ``reliability`` is Brain-Score's ceiling, ``explained`` the
        score^2 over it, ``ratio`` the score over its root. All three are missing without repeats,
        and ``no_ceiling`` says why. ``taught`` tells networks whose teacher speaks for the very
        scan, and that are judged by images that may have taught it.
    """
    named = ["layer", "chosen", "no_ceiling", "n_neurons", "n_images"]
    query = ScanPredictivity.proj(*SCORES, *named) * ScanPredictivity.Config.proj(
        "metric", "judging"
    )
    columns = [*OF_SCAN, *named, *SCORES, "taught", "judging", *KEYS]
    text = ("judge", "scan", "area", "metric", "layer", "no_ceiling", "judging")
    frame = network_frame(query, ScanPredictivity.Plan, selection, columns, text=text)
    scans = read_rows(Scan, ["species", "area"]).set_index("scan")
    area = (scans["species"] + " " + scans["area"]).str.strip()
    members = {(row["scan_group"], row["scan"]) for row in ScanGroup.Member.proj().to_dicts()}
    pairs = zip(frame["scan_group"], frame["scan"], strict=True)
    taught = np.array([pair in members for pair in pairs], bool)
    label = frame["scan"].astype(str) + ", " + frame["metric"].astype(str)
    few = frame["judging"].map({"all": "", "repeated": ", repeated", "test": ", test images"})
    label += few.fillna("").astype(str)
    return frame.assign(
        judge=numbered(label, frame[["scan", *KEYS]]),
        area=frame["scan"].map(area).astype(object),
        taught=taught & (frame["judging"] != "test").to_numpy(bool),
        **{name: frame[name].astype(float) for name in SCORES},
    ).drop(columns="judging")


def predictivity(selection: Selection) -> pd.DataFrame:
    """The same: mean and standard error over seeds; ends of intervals are averaged too."""
    by_seed = predictivity_by_seed(selection)
    summary = over_seeds(by_seed, SCORES, leave_out=["layer", "chosen"])
    return sort_frame(summary, ["image_set", "area", "judge", *ORDER, "setting"])


def predictivity_by_layer(selection: Selection) -> pd.DataFrame:
    """Each layer on the images that score, a row per network, scan, settings and layer.

    Returns
    -------
    DataFrame
        ``choosing`` is the score on the images that choose the layer; missing where it was given.
    """
    measured = ["layer_index", "layer", "choosing", "score", "explained", "ratio"]
    query = ScanPredictivity.Layer * ScanPredictivity.Config.proj("metric")
    columns = ["scan", "metric", *measured, *KEYS]
    text = ("scan", "metric", "layer")
    frame = network_frame(query, ScanPredictivity.Plan, selection, columns, text=text)
    frame = frame.astype(dict.fromkeys(["choosing", "score", "explained", "ratio"], float))
    order = ["image_set", "scan", "metric", *ORDER, "seed", "layer_index"]
    return sort_frame(frame, order)


def predictivity_table(frame: pd.DataFrame) -> pd.DataFrame:
    """A row for each judge and condition: score, its interval over neurons, and its ceiling."""
    table = summary_table(frame, {"score": "{:.3f}"})
    table.insert(0, "judge", frame["judge"].to_numpy())
    table["neurons"] = frame["n_neurons"].to_numpy()
    table["95 % over neurons"] = [
        "" if np.isnan(low) else f"{low:.3f} to {high:.3f}"
        for low, high in frame[["score_low", "score_high"]].to_numpy(float)
    ]
    known = frame["reliability"].notna().to_numpy()
    for name, values in (
        ("ceiling", np.sqrt(frame["reliability"].clip(lower=0))),
        ("score^2 / reliability", frame["explained"]),
        ("score / ceiling", frame["ratio"]),
    ):
        table[name] = [
            f"{value:.3f}" if there and not np.isnan(value) else "none"
            for value, there in zip(values, known, strict=True)
        ]
    table["note"] = [_note(row) for row in frame.to_dict("records")]
    return table if table["note"].any() else table.drop(columns="note")


def _note(row: dict[Any, Any]) -> str:
    said = [row["no_ceiling"]] if row["no_ceiling"] else []
    if row["taught"]:
        said.append("this scan taught the network")
    if row["ratio"] > IMPOSSIBLE:
        said.append("above its ceiling, which cannot be")
    return "; ".join(said)


def predictivity_figure(selection: Selection) -> Figure:
    """Bars for each condition beside their ceiling, as in Kubilius et al. 2019, Fig. 3.

    A panel for each scan and metric. Whiskers are the interval over neurons; a line is the ceiling
    of a scan that has repeats.
    """
    frame = PREDICTIVITY.frame(selection)
    panels = list(frame.assign(panel=settings(frame)).groupby(["judge", "panel"], sort=False))
    n_bars = max(len(rows) for _, rows in panels)
    size = (1.6 + 2.9 * min(len(panels), PANELS), 1.3 + 0.17 * n_bars)
    figure, axes = new_panels(len(panels), PANELS, size)
    for ax, ((_, setting), rows) in zip(axes, panels, strict=True):
        _bars(ax, rows)
        first = rows.iloc[0]
        said = [f"{first['area']}, {int(first['n_neurons'])} neurons", first["judge"], setting]
        ax.set_title("\n".join(str(part) for part in said if part), fontsize=8)
    title = "Neural predictivity; whiskers: 95 % over neurons; lines: ceilings"
    figure.suptitle(with_caveat(title, selection), fontsize=9)
    return figure


def _bars(ax: Any, rows: pd.DataFrame) -> None:
    """A bar for each condition, below each other, in its colour."""
    names = []
    for place, (label, line, of_condition) in enumerate(styled(rows)):
        row = of_condition.iloc[0]
        reach = np.abs(of_condition[["score_low", "score_high"]].to_numpy(float) - row["score"]).T
        ax.barh(place, row["score"], 0.75, color=line["color"], alpha=0.8)
        bars = {"fmt": "none", "ecolor": "#777777", "linewidth": 0.9}
        ax.errorbar(row["score"], place, xerr=np.nan_to_num(reach), **bars)
        names.append(label)
    ceiling = np.sqrt(rows["reliability"].clip(lower=0)).mean()
    if not np.isnan(ceiling):
        ax.axvline(ceiling, color="#666666", linewidth=1)
    ax.set_yticks(range(len(names)), names, fontsize=7)
    ax.set_ylim(len(names) - 0.5, -0.5)
    similar = rows["metric"].iloc[0] in ("rsa", "cka", "procrustes")
    ax.set_xlabel("similarity" if similar else "correlation", fontsize=8)
    ax.axvline(0, color="black", linewidth=0.5)


PREDICTIVITY = register(
    Result(
        name="predictivity",
        place=74,
        title="Neural predictivity of recordings, of the layer given or chosen on other images",
        question="How brain-like are networks, by recordings?",
        read=predictivity,
        by_seed=predictivity_by_seed,
        table=predictivity_table,
        evaluation="predictivity",
        lacks=("asks for", "judgement by a scan; give it a list [[predictivity]]"),
        compared=(Compared("score", lambda f: "predictivity of " + f["judge"].astype(str)),),
        figures={"predictivity": Drawing(predictivity_figure, "neural predictivity and ceilings")},
        further={"predictivity_by_layer": predictivity_by_layer},
    )
)
