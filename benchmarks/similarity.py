"""What a similarity matrix costs: ours against rsatoolbox's correlation distance.

python -m benchmarks.similarity [--stimuli 5000] [--neurons 8000] [--json]

The similarity of Eq. 2 takes each neuron's mean over stimuli off and then cosines; rsatoolbox's
correlation distance takes each stimulus's mean over neurons off, and is 1 - cosine. It has no
cosine alone, so the responses are made such that both come to the same: all stimuli have the same
mean over neurons, and rsatoolbox is given responses less their mean over stimuli. What it takes off
is then 0, and costs it less than a hundredth of its time.

Its correlation distance multiplies with einsum, which uses no linear algebra library. The fastest
way that it has to the same numbers is a detour, shown beside it: squared Euclidean distances of
vectors that were brought to unit length beforehand, which is not timed.

What memory each run needs is measured afterwards, in processes of their own: how much their peak
resident memory exceeds what the process held before, with the responses and all libraries loaded.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rsatoolbox.data import Dataset
from rsatoolbox.rdm import calc_rdm
from threadpoolctl import threadpool_limits

from benchmarks.alternate import alternate, report
from benchmarks.memory import memory_in_processes, peak_memory
from regularized_training.teachers.similarity import similarity

BAR = 5.0  # times as fast as rsatoolbox's correlation distance
TOLERANCE = 1e-5  # between values that count as equal
OURS, CORRELATION, EUCLIDEAN = "similarity", "rsatoolbox correlation", "rsatoolbox euclidean"
RUNS = (OURS, CORRELATION, EUCLIDEAN)
SIGNALS = 20  # that the neurons share, or all similarities would be near 0

Run = Callable[[], Any]
Matrix = Callable[[Any], NDArray]


def simulated_responses(n_stimuli: int, n_neurons: int) -> NDArray[np.float32]:
    """Of neurons with baselines and signals in common; all stimuli have one mean over neurons."""
    rng = np.random.default_rng(0)
    signal = rng.standard_normal((n_stimuli, SIGNALS), np.float32)
    responses = signal @ rng.standard_normal((SIGNALS, n_neurons), np.float32)
    responses += 3 * rng.standard_normal(responses.shape, np.float32)
    responses -= responses.mean(1, keepdims=True)
    responses += rng.gamma(2, 1, n_neurons).astype(np.float32)
    return responses


def prepared(name: str, responses: NDArray[np.float32]) -> tuple[Run, Matrix]:
    """A run, its input made ready, and how to read similarities off what it returns."""
    if name == OURS:
        return lambda: similarity(responses), lambda matrix: matrix
    centred = responses - responses.mean(0)
    if name == CORRELATION:
        data = Dataset(centred)
        return (
            lambda: calc_rdm(data, method="correlation"),
            lambda rdm: 1 - rdm.get_matrices()[0],
        )
    centred /= np.linalg.norm(centred, axis=1, keepdims=True)
    data = Dataset(centred)
    # Its distances are divided by the number of neurons.
    return (
        lambda: calc_rdm(data, method="euclidean"),
        lambda rdm: 1 - rdm.get_matrices()[0] * len(responses[0]) / 2,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stimuli", type=int, default=5000)
    parser.add_argument("--neurons", type=int, default=8000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1, help="one is disturbed least by others")
    parser.add_argument("--json", action="store_true", help="print a JSON object last")
    parser.add_argument("--memory-of", choices=RUNS, help="print MB that one run needs, only")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    threadpool_limits(args.threads)  # numpy's linear algebra

    responses = simulated_responses(args.stimuli, args.neurons)
    if args.memory_of:
        print(peak_memory(prepared(args.memory_of, responses)[0]))
        return
    # In place of a first round that does not count, which would take a minute.
    for name in RUNS:
        prepared(name, responses[:100])[0]()
    runs = {name: prepared(name, responses) for name in RUNS}
    found: dict[str, Any] = {}

    def kept(name: str) -> Run:
        def run() -> None:
            found[name] = runs[name][0]()

        return run

    seconds = alternate({name: kept(name) for name in RUNS}, args.repeats, warmup=0)
    expected = runs[OURS][1](found[OURS])
    differences = {
        name: float(np.abs(matrix(found[name]) - expected).max())
        for name, (_, matrix) in runs.items()
    }
    found.clear()
    options = [f"--{name}={getattr(args, name)}" for name in ("stimuli", "neurons", "threads")]
    memory = memory_in_processes("similarity", RUNS, options)
    report(
        f"Similarity of {args.stimuli} stimuli by {args.neurons} neurons",
        seconds,
        OURS,
        {
            "bar": BAR,
            "bar_of": CORRELATION,
            "tolerance": TOLERANCE,
            "equal": max(differences.values()) <= TOLERANCE,
            "rsatoolbox": version("rsatoolbox"),
            "numpy": np.__version__,
        },
        columns={
            "largest_difference": differences,
            "memory_mb": memory,
        },
        as_json=args.json,
    )


if __name__ == "__main__":
    main()
