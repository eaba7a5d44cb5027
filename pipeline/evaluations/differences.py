"""Differences between conditions, over everything that evaluations measure."""

from __future__ import annotations

import pandas as pd

from pipeline.experiments.selection import Selection
from pipeline.results.registry import Result, register, results
from pipeline.results.tables import mean_sem
from schemas import training


def differences(selection: Selection) -> pd.DataFrame:
    """Differences between conditions, paired over seeds.

    A teacher that speaks for a brain (``neural_model``, ``rsm``, ``recorded_rsm``, ``responses``)
    is compared with all other conditions but itself at another strength; another teacher that
    teaches with a ratio r, with no teacher at all.

    Returns
    -------
    DataFrame
        ``measure`` and ``level`` say of what: every column that an evaluation names to be compared,
        such as accuracy on test images, accuracy under a noise, or the median adversarial distance,
        and which task and network if there are several. ``difference`` is the mean of ``first``
        minus ``second``, ``p`` that of a two-tailed paired t-test over ``n`` seeds, ``p_greater``
        that of a one-tailed test that first is not greater, ``p_holm`` and ``p_greater_holm`` the
        same corrected (Holm 1979) for all comparisons of one measure at one level, ``effect``
        Cohen's d of paired samples. Where the median distance of a network is infinite, as over
        half of the attacks on it failed, the median difference is given, and the tests are
        Wilcoxon's of ranks. Seeds with an undefined value do not count; where none is left, n is 0
        and nothing is said.
    """
    from pipeline.results.comparisons import compared  # SciPy's tests take a second to import

    frames = []
    for result in sorted(results().values(), key=lambda result: result.place):
        if not result.compared or result.by_seed is None:
            continue
        by_seed = result.by_seed(selection)
        for one in result.compared:
            measure = one.measure if isinstance(one.measure, str) else one.measure(by_seed)
            frames.append(compared(by_seed, one.column, measure))
    # Of frames without a row pandas does not know what they hold.
    filled = [frame for frame in frames if len(frame)]
    return pd.concat(filled, ignore_index=True) if filled else frames[0]


def differences_table(frame: pd.DataFrame) -> pd.DataFrame:
    """The same rows, difference and standard error in one cell."""
    cells = [mean_sem(d, s, "{:+.4f}") for d, s in frame[["difference", "sem"]].to_numpy()]
    return frame.assign(difference=cells).drop(columns="sem")


DIFFERENCES = register(
    Result(
        name="differences",
        place=200,
        title="Differences between teachers, paired over seeds",
        question="How sure are differences between teachers?",
        read=differences,
        table=differences_table,
        asked=training.TrainedNetwork.planned,
        lacks=("trains", "network, so that there is nothing to compare"),
    )
)
