"""Do networks that predict neurons better withstand attacks better? Dapello et al. 2020."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pipeline.evaluations.predictivity import predictivity_by_seed
from pipeline.evaluations.white_box import MEAN, white_box_by_seed
from pipeline.experiments.selection import Selection
from pipeline.figures.drawing import name_dots, new_panels, with_caveat
from pipeline.results.conditions import CONDITION, HASHES, conditions
from pipeline.results.registry import Drawing, NothingToShowError, Result, register
from schemas.evaluations.base import EVALUATIONS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NETWORK = ["image_set", *HASHES]
POOL = ["image_set", "judge", "measure", "attack", "attack_strength"]
FEWEST = 4  # networks of a pool
PANELS = 4  # of the figure, in a row
WHITE_BOX, OVER_CLEAN, GIVEN_CLEAN = "white-box", "over clean", "given clean"
ALL, WITHOUT = "all", "without hardened"
STATISTICS = ["r", "low", "high", "p", "n"]
MEASURES = ["predictivity", "white_box_accuracy", "clean_accuracy", "relative_accuracy"]
LABELS = {"explained": "explained variance (score^2 / reliability)", "score": "score"}


def white_box_and_predictivity(selection: Selection, hardened: Sequence[str] = ()) -> pd.DataFrame:
    """Predictivity and white-box accuracy, a row per network, judge, attack and strength.

    Parameters
    ----------
    selection : Selection
    hardened : sequence of str
        Imported networks that were trained on adversarial images, which nobody can tell from a
        file. Of ours their training says so.

    Returns
    -------
    DataFrame
        Means over seeds, so that a network is one observation. ``predictivity`` is Brain-Score's
        ceiled score if all networks of a ``judge`` have it, or else the score, as ``measure`` says:
        explained, or score. ``white_box_accuracy`` is the mean over norms, ``relative_accuracy``
        the same over ``clean_accuracy``. Networks that a scan has taught are not judged by it here.

    Raises
    ------
    ValueError
        If one of `hardened` is not an imported network of which both are known.
    """
    attacked = white_box_by_seed(selection)
    attacked = attacked[attacked["norm"] == MEAN]
    judged = predictivity_by_seed(selection)
    judged = judged[~judged["taught"].astype(bool)]
    ceiled = judged.groupby(["image_set", "judge"])["explained"].transform(_all_known).astype(bool)
    judged = judged.assign(
        predictivity=judged["explained"].where(ceiled, judged["score"]).astype(float),
        measure=np.where(ceiled, "explained", "score"),
    )
    both = attacked.merge(
        judged[[*NETWORK, "seed", "judge", "area", "measure", "predictivity"]],
        on=[*NETWORK, "seed"],
    ).rename(columns={"accuracy": "white_box_accuracy"})
    clean = both["clean_accuracy"].where(both["clean_accuracy"] > 0)
    both = both.assign(relative_accuracy=both["white_box_accuracy"] / clean)
    groups = both.groupby([*NETWORK, *POOL[1:], "white_box_hash"], sort=False)
    means = groups[MEASURES].mean().assign(n_seeds=groups.size()).reset_index()
    about = both[[*dict.fromkeys([*CONDITION, "judge", "area"])]]
    found = means.merge(about.drop_duplicates([*NETWORK, "judge"]), on=[*NETWORK, "judge"])
    known = set(found["imported_network"]) - {""}
    if len(found) and (unknown := sorted(set(hardened) - known)):
        raise ValueError(
            f"hardened: {', '.join(unknown)}, expected imported networks with white-box accuracy "
            f"and predictivity, of which there are {', '.join(sorted(known)) or 'none'}"
        )
    by_training = found["distorted"].astype(str).str.contains("PGD", regex=False)
    return found.assign(
        network=conditions(found) if len(found) else pd.Series([], dtype=object),
        hardened=by_training | found["imported_network"].isin(hardened),
    )


def _all_known(values: pd.Series[float]) -> bool:
    return bool(values.notna().all())


def white_box_correlation(selection: Selection, hardened: Sequence[str] = ()) -> pd.DataFrame:
    """Correlation of predictivity with white-box accuracy over networks (Dapello et al. 2020).

    Parameters
    ----------
    selection : Selection
    hardened : sequence of str
        Imported networks that were trained on adversarial images.

    Returns
    -------
    DataFrame
        For each judge, attack and strength the correlation ``r`` over ``n`` networks with its 95 %
        interval by Fisher's transformation, from ``low`` to ``high``, and ``p`` of a two-tailed
        t-test. ``accuracy`` is white-box accuracy as it is, over clean accuracy, or ``given
        clean``: the partial correlation r_xy.z given clean accuracy z, which is
        (r_xy - r_xz r_yz) / sqrt((1 - r_xz^2) (1 - r_yz^2)). ``networks`` are all, or, where some
        are hardened, those that are not. Without rows where fewer than four networks have both
        measures (five for the partial correlation), or one of them is the same for all.
    """
    rows = []
    for names, pool in white_box_and_predictivity(selection, hardened).groupby(POOL, sort=False):
        about = dict(zip(POOL, names, strict=True))
        for networks, some in _pools(pool):
            for accuracy, found in _correlations(some):
                row = {"accuracy": accuracy, "networks": networks}
                rows.append(about | row | {name: getattr(found, name) for name in STATISTICS})
    return pd.DataFrame(rows, columns=[*POOL, "networks", "accuracy", *STATISTICS])


def _pools(pool: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """All networks, and those that are not hardened, if that makes a difference."""
    standard = pool[~pool["hardened"]]
    return [(ALL, pool), *([(WITHOUT, standard)] if len(standard) < len(pool) else [])]


def _correlations(pool: pd.DataFrame) -> list[tuple[str, Any]]:
    from regularized_training.analysis.correlation import correlation, partial_correlation

    found = []
    for accuracy in (WHITE_BOX, OVER_CLEAN, GIVEN_CLEAN):
        column = "relative_accuracy" if accuracy == OVER_CLEAN else "white_box_accuracy"
        known = pool.dropna(subset=["predictivity", column])
        x, y = known["predictivity"], known[column]
        try:
            if accuracy == GIVEN_CLEAN:
                found.append((accuracy, partial_correlation(x, y, known["clean_accuracy"])))
            else:
                found.append((accuracy, correlation(x, y)))
        except ValueError:  # too few, or all alike
            continue
    return found


def why_none(selection: Selection) -> str:
    """What is missing of a correlation."""
    attacked, judged = white_box_by_seed(selection), predictivity_by_seed(selection)
    n_attacked, n_judged = (
        len(frame[NETWORK].drop_duplicates()) if len(frame) else 0 for frame in (attacked, judged)
    )
    both = white_box_and_predictivity(selection)
    n_both = int(both.groupby(POOL).size().max()) if len(both) else 0
    if n_both >= FEWEST:
        return f"{n_both} networks, of which predictivity or white-box accuracy is all the same"
    return (
        f"white-box accuracy of {n_attacked} networks, predictivity of {n_judged}, and both, by a "
        f"scan that did not teach them, of {n_both}; expected at least {FEWEST}: ask for "
        "[white_box] and [[predictivity]], and run `neuroteach populate`"
    )


def white_box_correlation_table(frame: pd.DataFrame) -> pd.DataFrame:
    """A row for each correlation."""
    return pd.DataFrame(
        {
            "images": frame["image_set"],
            "judge": frame["judge"],
            "predictivity": frame["measure"],
            "attack": frame["attack"],
            "strength": frame["attack_strength"].map("{:g} x".format),
            "networks": frame["networks"],
            "accuracy": frame["accuracy"],
            "r": frame["r"].map("{:.2f}".format),
            "95 % (Fisher)": [
                f"{low:.2f} to {high:.2f}" for low, high in frame[["low", "high"]].to_numpy(float)
            ],
            "p": frame["p"].map("{:.2g}".format),
            "n": frame["n"],
        }
    )


def white_box_correlation_figure(selection: Selection, hardened: Sequence[str] = ()) -> Figure:
    """White-box accuracy against predictivity, a dot for each network (Fig. 1 of the paper)."""
    found = white_box_correlation(selection, hardened)
    if found.empty:
        raise NothingToShowError(CORRELATION.why_nothing(selection))
    both = white_box_and_predictivity(selection, hardened)
    panels = list(found[found["accuracy"] == WHITE_BOX].groupby(POOL, sort=False))
    size = (max(4.4, 3.9 * min(len(panels), PANELS)), 4.3)
    figure, axes = new_panels(len(panels), PANELS, size)
    for ax, (names, said) in zip(axes, panels, strict=True):
        about = dict(zip(POOL, names, strict=True))
        pool = both[(both[POOL] == pd.Series(about)).all(axis=1)]
        _scatter(ax, pool)
        strength = f"{about['attack_strength']:g} x published radii"
        ax.set_xlabel(f"{about['judge']}: {LABELS[str(about['measure'])]}", fontsize=8)
        ax.set_ylabel(f"accuracy, {about['attack']}, {strength}", fontsize=8)
        lines = [_said(row) for row in said.to_dict("records")]
        ax.set_title("\n".join([str(about["image_set"]), *lines]), fontsize=8)
    title = "White-box accuracy by predictivity, mean over norms"
    figure.suptitle(with_caveat(title, selection), fontsize=9)
    return figure


def _said(row: Mapping[Any, Any]) -> str:
    of = f"{row['networks']}: " if row["networks"] != ALL else ""
    interval = f"[{row['low']:.2f}, {row['high']:.2f}]"
    return f"{of}r = {row['r']:.2f} {interval}, p = {row['p']:.2g}, n = {row['n']}"


def _scatter(ax: Any, pool: pd.DataFrame) -> None:
    """Dots, open ones of hardened networks, with their names and the line through all."""
    for is_hardened, some in pool.groupby("hardened"):
        face = "none" if is_hardened else "#0072B2"
        label = "trained on adversarial images" if is_hardened else "others"
        ax.plot(
            *(some["predictivity"], some["white_box_accuracy"], "o"),
            **{"markerfacecolor": face, "color": "#0072B2", "markersize": 5, "label": label},
        )
    x, y = pool["predictivity"].to_numpy(float), pool["white_box_accuracy"].to_numpy(float)
    name_dots(ax, x, y, pool["network"])
    slope, at_0 = np.polyfit(x, y, 1)
    ends = np.array([x.min(), x.max()])
    ax.plot(ends, slope * ends + at_0, color="#666666", linewidth=1)
    if pool["hardened"].any():
        ax.legend(fontsize=7, frameon=False)


def _planned(experiments: Any) -> Any:
    attacked, judged = EVALUATIONS["white_box"], EVALUATIONS["predictivity"]
    return attacked.planned(experiments) and judged.planned(experiments)


CORRELATION = register(
    Result(
        name="white-box-correlation",
        place=77,
        title="Predictivity and white-box accuracy over networks (Dapello et al. 2020)",
        question="Do networks that predict neurons better withstand attacks better?",
        read=white_box_correlation,
        table=white_box_correlation_table,
        asked=_planned,
        lacks=("asks for", "[white_box] beside [[predictivity]]; give it one of each"),
        why=why_none,
        takes_hardened=True,
        figures={
            "white-box-correlation": Drawing(
                white_box_correlation_figure,
                "white-box accuracy by predictivity",
                takes_hardened=True,
            )
        },
        further={"white_box_and_predictivity": white_box_and_predictivity},
    )
)
