"""What intervals over images cost: ours against SciPy's bootstrap, which recomputes all scores.

python -m benchmarks.score_intervals [--images 100] [--repeats 10] [--neurons 8000] [--json]

Rounds take few draws each, since SciPy takes seconds for one; how long the draws of a real
interval take is measured once, and what memory each run needs in processes of their own.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import scipy.stats
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from benchmarks.alternate import alternate, report
from benchmarks.memory import memory_in_processes, peak_memory
from predictive_model.recordings.repeats import Repeats
from predictive_model.scoring.score_summary import summarise, summarise_over_images
from predictive_model.scoring.scores import score_trials

BAR = 120.0  # seconds for 1,000 draws
DRAWS = 1000  # of a real interval
OURS, SCIPY = "summarise_over_images", "scipy.stats.bootstrap"


def simulated(n_images: int, n_repeats: int, n_neurons: int) -> tuple[Repeats, Repeats]:
    """Poisson trials and predictions that know a part of the rates."""
    rng = np.random.default_rng(0)
    rates = rng.gamma(2.0, 1.0, (n_images, n_neurons))
    predicted = rates * rng.gamma(4.0, 0.25, rates.shape)
    counts = np.full(n_images, n_repeats)
    trials = rng.poisson(rates.repeat(n_repeats, axis=0)).astype(np.float32)
    return Repeats(trials, counts), Repeats(predicted.repeat(n_repeats, axis=0), counts)


def prepared(name: str, trials: Repeats, predicted: Repeats, draws: int) -> Callable[[], object]:
    """A run with this many draws."""
    if name == OURS:
        return lambda: summarise_over_images(trials, predicted, n_resamples=draws)

    def recomputed(images: NDArray[np.int64]) -> list[float]:
        scores = score_trials(trials.of_images(images), predicted.of_images(images), n_splits=1)
        # Intervals over neurons are a part of a summary: the fewest draws of them.
        return [score.value for score in summarise(scores, n_resamples=20).values()]

    return lambda: scipy.stats.bootstrap(
        (np.arange(trials.n_images),),
        recomputed,
        n_resamples=draws,
        vectorized=False,
        method="percentile",
        rng=0,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--neurons", type=int, default=8000)
    parser.add_argument("--draws", type=int, default=20, help="of each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="print a JSON object last")
    parser.add_argument("--memory-of", choices=(OURS, SCIPY), help="print MB of one run, only")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    threadpool_limits(args.threads)  # numpy's linear algebra

    trials, predicted = simulated(args.images, args.repeats, args.neurons)
    if args.memory_of:
        print(peak_memory(prepared(args.memory_of, trials, predicted, args.draws)))
        return
    runs = {name: prepared(name, trials, predicted, args.draws) for name in (OURS, SCIPY)}
    seconds = alternate(runs, args.rounds, warmup=0)
    start = time.perf_counter()
    prepared(OURS, trials, predicted, DRAWS)()
    whole = time.perf_counter() - start
    options = [f"--{n}={getattr(args, n)}" for n in ("images", "repeats", "neurons", "draws")]
    report(
        f"Intervals of all scores: {args.images} images, {args.repeats} repeats, "
        f"{args.neurons} neurons, {args.draws} draws",
        seconds,
        OURS,
        {
            "bar": BAR,
            f"seconds_of_{DRAWS}_draws": round(whole, 1),
            "scipy": scipy.__version__,
            "numpy": np.__version__,
        },
        columns={"memory_mb": memory_in_processes("score_intervals", (OURS, SCIPY), options)},
        as_json=args.json,
    )


if __name__ == "__main__":
    main()
