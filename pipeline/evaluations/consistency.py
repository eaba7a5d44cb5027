"""Error consistency of networks with each other, and with people who saw the same images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.evaluations.other_images import LACKS, networks_on_sets
from pipeline.experiments.selection import Selection
from pipeline.figures.curves import STARS, figure_of_dots
from pipeline.figures.drawing import with_caveat
from pipeline.results.conditions import CONDITION, settings
from pipeline.results.foreseen import Foreseen
from pipeline.results.frames import ORDER, over_seeds, sort_frame
from pipeline.results.registry import Compared, Drawing, NothingToShowError, Result, register
from pipeline.results.rows import read_rows
from regularized_training.behaviour.consistency import FEWEST_IMAGES, left_out, of_every_two
from regularized_training.behaviour.network_trials import on_images, right_on_images
from regularized_training.behaviour.trials import Trials, is_person
from schemas.evaluation_set import EvaluationSet, ImageNames, ShownImages
from schemas.psychophysics import Psychophysics

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PEOPLE = "people"
SHOWN = ["evaluation_set", "trials", "image_condition"]
ENDS = ["first", "first_seed", "second", "second_seed"]
AGREE = ["first_accuracy", "second_accuracy", "observed", "expected", "kappa"]
BOUNDS = ["kappa_low", "kappa_high"]


def shown_to_people(evaluation_set: str) -> list[tuple[str, str, Trials]]:
    """Trials on the images of a set, with their names and the condition they were shown in."""
    rows = read_rows(ShownImages & {"evaluation_set": evaluation_set}, ["image_condition"])
    found = []
    for trials, condition in zip(rows["psychophysics"], rows["image_condition"], strict=True):
        loaded = Psychophysics.load({"psychophysics": trials})
        some = on_images(loaded, condition, ImageNames.of(evaluation_set))
        found.append((str(trials), str(condition), some))
    return found


def consistency_by_pair(selection: Selection) -> pd.DataFrame:
    """Error consistency of every two networks on each evaluation set, and of each with people.

    Of sets whose images people saw (`neuroteach import evaluation-set --trials`) also of every two
    people, and with the networks that are among these trials.

    Returns
    -------
    DataFrame
        ``first`` and ``second`` are conditions of networks, with their seeds, or else observers of
        the trials; ``trials`` and ``image_condition`` are empty of two networks, who need none.
        The rest is as of :func:`regularized_training.behaviour.consistency.of_every_two`. Two
        observers who both saw fewer than 20 images have no row.
    """
    found = []
    for name, networks in networks_on_sets(selection):
        labels, _ = EvaluationSet.labelled(name)
        right = (np.stack(list(networks["answers"])) == labels).astype(float)
        ours = networks[["condition", "seed"]].rename(columns={"condition": "name"})
        found.append(_pairs(right, ours).assign(evaluation_set=name, trials="", image_condition=""))
        for trials, condition, some in shown_to_people(name):
            theirs = pd.DataFrame({"name": some.observers, "seed": None})
            both = np.concatenate([right, right_on_images(some, ImageNames.of(name))])
            pairs = _pairs(both, pd.concat([ours, theirs], ignore_index=True), n_known=len(ours))
            shown = {"evaluation_set": name, "trials": trials, "image_condition": condition}
            found.append(pairs.assign(**shown))
    columns = [*SHOWN, *ENDS, "n_images", *AGREE, *BOUNDS]
    found = [frame for frame in found if len(frame)]
    return pd.concat(found, ignore_index=True)[columns] if found else pd.DataFrame(columns=columns)


def _pairs(right: NDArray[np.float64], who: pd.DataFrame, n_known: int = 0) -> pd.DataFrame:
    """Pairs of observers, but for those among the first few, which are known."""
    pairs = of_every_two(right)
    pairs = pairs[pairs["second"] >= n_known].reset_index(drop=True)
    ends = {end: who.iloc[pairs[end].to_numpy(int)].reset_index(drop=True) for end in ENDS[::2]}
    for end, observers in ends.items():
        pairs[end] = observers["name"].to_numpy(object)
        pairs[f"{end}_seed"] = observers["seed"].astype("Int64").to_numpy(object)
    return pairs


def consistency(selection: Selection) -> pd.DataFrame:
    """The same, means over every two networks of one condition, of two, and with people.

    Returns
    -------
    DataFrame
        ``first`` and ``second`` are conditions, ``people``, or networks of the trials. ``seeds``
        says whether two networks have the same seed, so that they began with the same weights and
        saw images in the same order; what is alike within a condition and between two is told by
        those of different seeds. ``n_pairs`` counts pairs, of which some may have no ``kappa``.
    """
    pairs = consistency_by_pair(selection)
    columns = [*SHOWN, "first", "second", "seeds", "n_images", *AGREE, *BOUNDS, "n_pairs"]
    if pairs.empty:
        return pd.DataFrame(columns=columns)
    same = pairs["first_seed"] == pairs["second_seed"]
    of_networks = pairs[ENDS[1::2]].notna().all(axis=1)
    seeds = np.where(of_networks, np.where(same.fillna(False), "same", "different"), "")
    theirs = {end: pairs[f"{end}_seed"].isna() for end in ENDS[::2]}
    named = {
        end: pairs[end].where(~(theirs[end] & pairs[end].map(is_person)), PEOPLE) for end in theirs
    }
    groups = pairs.assign(**named, seeds=seeds).groupby(
        [*SHOWN, "first", "second", "seeds"], sort=False
    )
    means = groups[["n_images", *AGREE, *BOUNDS]].mean()
    return means.assign(n_pairs=groups.size()).reset_index()[columns]


def consistency_by_seed(selection: Selection) -> pd.DataFrame:
    """Each network beside people who saw the same images, a row per network, set and trials.

    Returns
    -------
    DataFrame
        ``accuracy`` and ``people_accuracy``, the mean over people; ``kappa`` and ``observed``, mean
        error consistency with each person; ``people_kappa``, the same between every two people:
        the ceiling. All of the images of the set alone.
    """
    values = ["accuracy", "people_accuracy", "kappa", "observed", "people_kappa"]
    columns = [*CONDITION, "seed", *SHOWN, "n_images", *values]
    rows = []
    for name, networks in networks_on_sets(selection):
        for trials, condition, some in shown_to_people(name):
            labels, _ = EvaluationSet.labelled(name)
            right = (np.stack(list(networks["answers"])) == labels).astype(float)
            persons = np.array([is_person(one) for one in some.observers])
            theirs = right_on_images(some, ImageNames.of(name))[persons]
            pairs = of_every_two(np.concatenate([right, theirs]))
            n = len(networks)
            mixed = pairs[(pairs["first"] < n) & (pairs["second"] >= n)].groupby("first")
            among = pairs.loc[pairs["first"] >= n, "kappa"].mean()
            rows.append(
                networks.assign(
                    evaluation_set=name,
                    trials=trials,
                    image_condition=condition,
                    n_images=len(labels),
                    accuracy=right.mean(1),
                    people_accuracy=np.nanmean(theirs, axis=1).mean() if len(theirs) else np.nan,
                    kappa=mixed["kappa"].mean().reindex(range(n)).to_numpy(),
                    observed=mixed["observed"].mean().reindex(range(n)).to_numpy(),
                    people_kappa=among,
                )[columns]
            )
    return pd.concat(rows, ignore_index=True) if rows else pd.DataFrame(columns=columns)


def consistency_with_people(selection: Selection) -> pd.DataFrame:
    """Networks beside people: means over the conditions of images, then mean and SEM over seeds.

    As published, conditions are left out that say little: controls, and those in which people are
    right in less than a fifth of the trials.

    Returns
    -------
    DataFrame
        ``n_conditions`` of images, each an evaluation set of its own.
    """
    by_seed = consistency_by_seed(selection)
    values = ["accuracy", "people_accuracy", "kappa", "observed", "people_kappa"]
    if by_seed.empty:
        return by_seed
    manipulation = read_rows(Psychophysics, ["manipulation"]).set_index("psychophysics")
    of = by_seed["trials"].map(manipulation["manipulation"])
    dropped = [
        condition in left_out(name)
        for name, condition in zip(of, by_seed["image_condition"], strict=True)
    ]
    kept = by_seed[~np.array(dropped, bool)]
    groups = kept.groupby([*CONDITION, "seed", "trials"], sort=False, dropna=False)
    means = groups[values].mean().assign(n_conditions=groups.size()).reset_index()
    return sort_frame(over_seeds(means, values), ["image_set", "trials", *ORDER, "setting"])


def consistency_table(frame: pd.DataFrame) -> pd.DataFrame:
    """A row for each two conditions, or condition and people."""
    shown = frame[["trials", "image_condition"]].agg(" ".join, axis=1).str.strip()
    accuracies = frame[["first_accuracy", "second_accuracy"]].map("{:.3f}".format)
    table = frame[["evaluation_set", "first", "second", "seeds"]].assign(trials=shown)
    table = table.assign(accuracies=accuracies.agg(" and ".join, axis=1))
    for name in ("observed", "kappa"):
        table[name] = frame[name].map("{:.3f}".format).replace("nan", "undefined")
    bounds = frame[BOUNDS].map("{:.2f}".format).agg(" to ".join, axis=1)
    return table.assign(bounds=bounds, pairs=frame["n_pairs"]).rename(
        columns={"evaluation_set": "images"}
    )


def consistency_figure(selection: Selection) -> Figure:
    """Error consistency of every network with people, on each set of images that these saw.

    Raises
    ------
    NothingToShowError
        If people saw none of the images.
    """
    frame = consistency_by_seed(selection)
    if frame.empty:
        if consistency(selection).empty:
            raise NothingToShowError(CONSISTENCY.why_nothing(selection))
        raise NothingToShowError(
            "no images that people saw; say whose trials have answers to them with `neuroteach "
            "import evaluation-set ... --trials NAME`"
        )
    panels = []
    for (name, setting), rows in frame.groupby(["evaluation_set", settings(frame)], sort=False):
        between = f"two people: {rows['people_kappa'].iloc[0]:.3f}"
        panels.append(("; ".join(str(n) for n in (name, setting, between) if n), rows))
    title = with_caveat(f"Error consistency with people, on the same images; {STARS}", selection)
    return figure_of_dots(panels, "kappa", "error consistency with people, κ", title)


def _measure(what: str) -> Any:
    return lambda frame: f"{what} on " + frame["evaluation_set"].astype(str)


CONSISTENCY = register(
    Result(
        name="consistency",
        place=56,
        title=f"Error consistency on images that two observers both saw, {FEWEST_IMAGES} or more",
        question="Do networks err on the same images as each other, and as people?",
        read=consistency,
        by_seed=consistency_by_seed,
        table=consistency_table,
        evaluation="other_images",
        lacks=LACKS,
        compared=(Compared("kappa", _measure("error consistency with people")),),
        foreseen=Foreseen(lambda _, s: [{"evaluation_set": s.set}]),
        figures={
            "consistency": Drawing(consistency_figure, "error consistency of networks with people")
        },
        further={
            "consistency_by_pair": consistency_by_pair,
            "consistency_with_people": consistency_with_people,
        },
    )
)
