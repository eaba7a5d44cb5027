"""Lines and colours of the conditions, the same in all figures of networks."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib import colormaps

from pipeline.conditions import CONDITION, conditions

# Colours that people with colour-blindness can tell apart (Okabe and Ito).
COLOURS = {
    "none": "#000000",
    "neural_model": "#D55E00",
    "neural_data": "#0072B2",
    "oracle": "#56B4E9",
    "shuffle": "#009E73",
    "shuffle_entries": "#66C2A5",
    "gabor": "#CC79A7",
    "low_rank": "#E69F00",
    "pixels": "#999999",
    "vgg": "#8C6D31",
    "vgg_untrained": "#BD9E39",
    "rsm": "#D55E00",
    "gaussian": "#F0E442",
}
STYLES = ("-", "--", ":", "-.")


def styled(frame: pd.DataFrame) -> list[tuple[str, dict[str, Any], pd.DataFrame]]:
    """Each condition of a frame: its name with the number of seeds, its line, its rows.

    The colour says who teaches; the dashes, which brain; where one teacher teaches with several
    strengths, the colour rises with alpha.
    """
    frame = frame.assign(condition=conditions(frame[CONDITION]))
    taught = frame.loc[frame["teacher"] != "none"]
    brains = list(dict.fromkeys(taught["brain"]))
    strengths = sorted(set(taught["alpha"])) if taught["teacher"].nunique() == 1 else []
    lines = []
    for name, rows in frame.groupby("condition", sort=False):
        first = rows.iloc[0]
        colour: Any = COLOURS.get(first["teacher"], "#444444")
        if len(strengths) > 1 and first["teacher"] != "none":
            colour = colormaps["plasma"](0.85 * strengths.index(first["alpha"]) / len(strengths))
        dashes = STYLES[brains.index(first["brain"]) % len(STYLES)] if first["brain"] else "-"
        seeds = f" (n = {int(rows['n_seeds'].min())})" if "n_seeds" in rows else ""
        lines.append((f"{name}{seeds}", {"color": colour, "linestyle": dashes}, rows))
    return lines


def error_bars(frame: pd.DataFrame) -> str:
    """What the error bars are."""
    return "error bars: SEM over n seeds" if frame["n_seeds"].max() > 1 else "one seed each"
