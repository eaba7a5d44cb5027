"""Composite scores of networks over several recordings: Kubilius et al. 2019."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from pipeline.evaluations.predictivity import predictivity_by_seed
from pipeline.experiments.selection import Selection
from pipeline.results.conditions import CONDITION, NETWORK, conditions
from pipeline.results.registry import POPULATE_FIRST, Result, register
from schemas.evaluations.base import EVALUATIONS

VALUES = ["score", "low", "high", "rank", "rank_low", "rank_high", "first"]


def composite(selection: Selection, parts: Sequence[str] = ()) -> pd.DataFrame:
    """Mean of ceiled predictivity over recordings, a row per network, each seed by itself.

    Parameters
    ----------
    selection : Selection
    parts : sequence of str
        Which judges, as ``predictivity_by_seed`` calls them; by default all regressions of which
        there is a ceiling.

    Returns
    -------
    DataFrame
        ``score`` is the mean over ``parts`` of score^2 / reliability, ``low`` and ``high`` its 95 %
        interval over neurons and splits, ``rank`` 1 for the highest of an image set, from
        ``rank_low`` to ``rank_high``, and ``first`` the share of draws in which it is the first.
        Networks that lack a part are left out, as are those that a scan of it has taught.

    Raises
    ------
    ValueError
        If a part was not measured, or has no ceiling.
    """
    from regularized_training.alignment.composite import Part
    from regularized_training.alignment.composite import composite as of_parts

    judged = predictivity_by_seed(selection)
    judged = judged[~judged["taught"].astype(bool)]
    ceiled = judged[judged["explained"].notna() & judged["metric"].isin(["pls", "ridge"])]
    known = sorted(set(ceiled["judge"]))
    if len(judged) and (unknown := [name for name in parts if name not in known]):
        raise ValueError(
            f"parts: {', '.join(unknown)}, expected regressions with a ceiling that were measured, "
            f"of which there are {'; '.join(known) or 'none'}"
        )
    names = [*dict.fromkeys(parts)] or known
    frames = []
    for _, pool in ceiled.groupby("image_set", sort=False):
        wide = pool[pool["judge"].isin(names)].pivot(
            index=NETWORK, columns="judge", values="explained"
        )
        wide = wide.reindex(columns=names).dropna()
        if wide.empty:
            continue
        measured = {}
        for name in names:
            judge = pool.loc[pool["judge"] == name, ["scan", "predictivity_hash"]].iloc[0]
            judged_by = EVALUATIONS["predictivity"]() & judge.to_dict()
            rows = judged_by.proj("correlations", "reliabilities").to_dicts()
            by_network = {tuple(row[column] for column in NETWORK): row for row in rows}
            of_all = [by_network[network]["correlations"] for network in wide.index]
            measured[name] = Part(
                np.stack([np.asarray(one, np.float64) for one in of_all]),
                np.asarray(by_network[wide.index[0]]["reliabilities"], np.float64),
            )
        found = of_parts(measured)
        values = pd.DataFrame({name: getattr(found, name) for name in VALUES}, index=wide.index)
        about = pool[[*CONDITION, "seed"]].drop_duplicates(NETWORK)
        frames.append(about.merge(values.reset_index(), on=NETWORK))
    columns = [*CONDITION, "seed", *VALUES]
    frame = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)
    order = ["image_set", "rank"]
    return frame.assign(parts="; ".join(names)).sort_values(order).reset_index(drop=True)


def composite_table(frame: pd.DataFrame) -> pd.DataFrame:
    """A row for each network, the best first."""
    return pd.DataFrame(
        {
            "rank": frame["rank"],
            "95 % of ranks": [
                f"{low:.0f} to {high:.0f}"
                for low, high in frame[["rank_low", "rank_high"]].to_numpy(float)
            ],
            "network": conditions(frame),
            "seed": frame["seed"],
            "composite": frame["score"].map("{:.3f}".format),
            "95 %": [
                f"{low:.3f} to {high:.3f}" for low, high in frame[["low", "high"]].to_numpy(float)
            ],
            "first": frame["first"].map("{:.0%}".format),
            "mean of": frame["parts"],
        }
    )


def why_none(selection: Selection) -> str:
    """What is missing of a composite score."""
    if predictivity_by_seed(selection).empty:
        return POPULATE_FIRST
    return (
        "no network has a ceiled score of every scan: it takes regressions (pls, ridge) on scans "
        "with repeats, in lists [[predictivity]]"
    )


COMPOSITE = register(
    Result(
        name="composite",
        place=76,
        title="Composite score: mean of ceiled predictivity (Kubilius et al. 2019)",
        question="Which networks are the most brain-like over several recordings?",
        read=composite,
        table=composite_table,
        asked=lambda experiments: EVALUATIONS["predictivity"].planned(experiments),
        lacks=("asks for", "judgement by a scan; give it a list [[predictivity]]"),
        why=why_none,
    )
)
