"""What predicting neurons from a layer costs: ours against scikit-learn's PLSRegression.

python -m benchmarks.predictivity [--images 2560] [--features 100000] [--neurons 168]
    [--projected 1000] [--splits 10] [--with-projection] [--threads 1] [--json]

scikit-learn is given the layer's first principal components, which it needs to be feasible at all.
Ours is given the same components, where both must come to the same numbers, and it is given the
layer as it is, of which it makes the inner products of all images before it regresses. With
--with-projection scikit-learn starts from the layer, too: it finds the components of 1,000 images,
projects all on them and regresses, as published.

What memory ours needs is measured afterwards, in a process of its own: how much its peak resident
memory exceeds what the process held before, with the features and all libraries loaded. Beside it
stands what ours said beforehand that it would need.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
import sklearn
from numpy.typing import NDArray
from sklearn.cross_decomposition import PLSRegression
from sklearn.decomposition import PCA
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

BAR = 5.0  # times as fast as scikit-learn, both on the components
TOLERANCE = 1e-6  # between correlations that count as equal
OURS, COMPONENTS = "the whole layer", "components"
PEER, PEER_WHOLE = "scikit-learn, components", "scikit-learn, the whole layer"
PROJECTING = 1000  # images whose components are found
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
    parser.add_argument("--with-projection", action="store_true", help="time that, too")
    parser.add_argument("--memory-of", choices=[OURS], help="print MB that it needs, only")
    args = parser.parse_args()
    threadpool_limits(args.threads)

    config = PredictivityConfig(n_splits=args.splits)
    features, responses = simulated(args.images, args.features, args.neurons)
    # In place of a first round that does not count.
    small = PredictivityConfig(n_splits=1)
    predictivity(features[:200, :500], responses[:200], small)
    with_scikit_learn(features[:200, :500].astype(np.float64), responses[:200], small)
    if args.memory_of:
        print(peak_memory(lambda: predictivity(features, responses, config)))
        return
    components = Gram.of(features).factor[:, : args.projected]

    def projected() -> NDArray[np.float64]:
        pca = PCA(min(args.projected, PROJECTING, args.images)).fit(features[:PROJECTING])
        return with_scikit_learn(pca.transform(features), responses, config)

    runs: dict[str, Run] = {
        COMPONENTS: lambda: predictivity(components, responses, config).correlation,
        PEER: lambda: with_scikit_learn(components, responses, config),
        OURS: lambda: predictivity(features, responses, config).correlation,
    }
    if args.with_projection:
        runs[PEER_WHOLE] = projected
    found: dict[str, Any] = {}

    def kept(name: str) -> Callable[[], None]:
        def run() -> None:
            found[name] = runs[name]()

        return run

    seconds = alternate({name: kept(name) for name in runs}, args.repeats, warmup=0)
    difference = float(np.abs(found[COMPONENTS] - found[PEER]).max())
    named = ("images", "features", "neurons", "projected", "splits", "threads")
    memory = memory_in_processes(
        "predictivity", (OURS,), [f"--{name}={getattr(args, name)}" for name in named]
    )
    made = 8 * args.images * (2 * args.images + 2 * COLUMNS)  # a Gram matrix, of which half stays
    stated = (made + memory_needed(args.images, args.neurons, config)) // 2**20
    report(
        f"PLS of {args.neurons} neurons on {args.features} features of {args.images} images",
        seconds,
        COMPONENTS,
        {
            "bar": BAR,
            "bar_of": PEER,
            "tolerance": TOLERANCE,
            "largest_difference": difference,
            "equal": difference <= TOLERANCE,
            "stated_mb": stated,
            "scores": {n: float(np.median(found[n], axis=1).mean()) for n in runs},
            "scikit_learn": sklearn.__version__,
            "numpy": np.__version__,
        },
        columns={"memory_mb": {name: memory.get(name, "") for name in runs}},
        as_json=args.json,
    )


if __name__ == "__main__":
    main()
