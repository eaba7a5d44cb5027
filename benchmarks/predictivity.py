"""What predicting neurons from a layer costs: ours against scikit-learn's PLSRegression.

python -m benchmarks.predictivity [--images 2560] [--features 100000] [--neurons 168]
    [--projected 1000] [--splits 10] [--threads 1] [--json]

Ours takes the layer as it is: it makes the inner products of all images and regresses in all
splits. scikit-learn is given the layer's first principal components over the same images, which it
needs to be feasible at all; making them is not timed. That both come to the same numbers is checked
where both have the same input, the components.

What memory each run needs is measured afterwards, in processes of their own: how much their peak
resident memory exceeds what the process held before, with the features and all libraries loaded.
Beside it stands what ours said beforehand that it would need.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
import sklearn
from numpy.typing import NDArray
from sklearn.cross_decomposition import PLSRegression
from threadpoolctl import threadpool_limits

from benchmarks.alternate import alternate, report
from benchmarks.memory import memory_in_processes, peak_memory
from predictive_model.scoring.correlation import correlation
from regularized_training.alignment.gram import COLUMNS, Gram
from regularized_training.alignment.predictivity import (
    PredictivityConfig,
    memory_needed,
    predictivity,
    splits,
)

BAR = 5.0  # times as fast as scikit-learn on the components
TOLERANCE = 1e-6  # between correlations that count as equal
OURS, COMPONENTS, PEER = "the whole layer", "components", "scikit-learn, components"
RUNS = (OURS, COMPONENTS, PEER)
SIGNALS = 300  # directions of the layer that neurons share, the later the less

Run = Callable[[], NDArray[np.float64]]


def simulated(n_images: int, n_features: int, n_neurons: int) -> tuple[NDArray, NDArray]:
    """Features (image, feature), not centred, and responses (image, neuron) with half noise."""
    rng = np.random.default_rng(0)
    signal = rng.standard_normal((n_images, SIGNALS)) / np.sqrt(np.arange(1, SIGNALS + 1))
    features = np.empty((n_images, n_features), np.float32)
    for first in range(0, n_features, COLUMNS):
        block = features[:, first : first + COLUMNS]
        block[:] = signal @ rng.standard_normal((SIGNALS, block.shape[1]))
        block += 0.3 * rng.standard_normal(block.shape, np.float32) + 1
    responses = signal @ rng.standard_normal((SIGNALS, n_neurons))
    responses += responses.std() * rng.standard_normal(responses.shape)
    return features, responses


def with_scikit_learn(
    x: NDArray[np.float64], y: NDArray[np.float64], config: PredictivityConfig
) -> NDArray[np.float64]:
    """Correlations (split, neuron)."""
    found = []
    for train, test in zip(*splits(len(y), config), strict=True):
        fitted = PLSRegression(config.n_components, scale=False).fit(x[train], y[train])
        found.append(correlation(fitted.predict(x[test]), y[test]))
    return np.array(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=2560)
    parser.add_argument("--features", type=int, default=100_000)
    parser.add_argument("--neurons", type=int, default=168)
    parser.add_argument("--projected", type=int, default=1000, help="components for the peer")
    parser.add_argument("--splits", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1, help="one is disturbed least by others")
    parser.add_argument("--json", action="store_true", help="print a JSON object last")
    parser.add_argument("--memory-of", choices=RUNS, help="print MB that one run needs, only")
    args = parser.parse_args()
    threadpool_limits(args.threads)

    config = PredictivityConfig(n_splits=args.splits)
    features, responses = simulated(args.images, args.features, args.neurons)
    components = (
        np.empty(0) if args.memory_of == OURS else Gram.of(features).factor[:, : args.projected]
    )
    runs: dict[str, Run] = {
        OURS: lambda: predictivity(features, responses, config).correlation,
        COMPONENTS: lambda: predictivity(components, responses, config).correlation,
        PEER: lambda: with_scikit_learn(components, responses, config),
    }
    # In place of a first round that does not count.
    small = PredictivityConfig(n_splits=1)
    predictivity(features[:200, :500], responses[:200], small)
    with_scikit_learn(features[:200, :500].astype(np.float64), responses[:200], small)
    if args.memory_of:
        print(peak_memory(runs[args.memory_of]))
        return
    found: dict[str, Any] = {}

    def kept(name: str) -> Callable[[], None]:
        def run() -> None:
            found[name] = runs[name]()

        return run

    seconds = alternate({name: kept(name) for name in RUNS}, args.repeats, warmup=0)
    difference = float(np.abs(found[COMPONENTS] - found[PEER]).max())
    named = ("images", "features", "neurons", "projected", "splits", "threads")
    memory = memory_in_processes(
        "predictivity", RUNS, [f"--{name}={getattr(args, name)}" for name in named]
    )
    made = 8 * args.images * (2 * args.images + 2 * COLUMNS)  # a Gram matrix, of which half stays
    stated = (made + memory_needed(args.images, args.neurons, config)) // 2**20
    report(
        f"PLS of {args.neurons} neurons on {args.features} features of {args.images} images",
        seconds,
        OURS,
        {
            "bar": BAR,
            "bar_of": PEER,
            "tolerance": TOLERANCE,
            "largest_difference": difference,
            "equal": difference <= TOLERANCE,
            "stated_mb": stated,
            "scores": {n: float(np.median(found[n], axis=1).mean()) for n in RUNS},
            "scikit_learn": sklearn.__version__,
            "numpy": np.__version__,
        },
        columns={"memory_mb": memory},
        as_json=args.json,
    )


if __name__ == "__main__":
    main()
