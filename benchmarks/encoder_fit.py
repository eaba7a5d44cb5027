"""What fitting an encoder costs: this project's fit against the usual loop on neuralpredictors.

python -m benchmarks.encoder_fit [--epochs 10] [--images 1100] [--neurons 1000] [--json]

Both fit the network of the Sensorium challenge to one simulated scan, from the same initial
weights, with the same loss, penalties, optimiser and batch size. The usual loop reads a tree of
files through a DataLoader and stops early by neuralpredictors' own rule. The two take turns, epoch
by epoch; an epoch is all training trials and one validation. What memory each needs is measured
afterwards, in processes of their own that fit for one epoch: how much their peak resident memory
exceeds what the process held before, with the recording and all libraries loaded.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.utils.data import DataLoader, SubsetRandomSampler

from benchmarks.memory import memory_in_processes, peak_memory
from predictive_model.encoders import neuralpredictors_compat as stock
from predictive_model.encoders.config import CoreConfig, EncoderConfig
from predictive_model.encoders.encoder import build_encoder, data_key, population_of
from predictive_model.fits.config import FitConfig, FitEpoch
from predictive_model.fits.fitting import fit
from predictive_model.recordings.recording import Recording
from predictive_model.recordings.simulation import SimulatedCortex, SimulatedCortexConfig
from predictive_model.recordings.stimuli import natural_stimuli
from predictive_model.scoring.correlation import correlation

BAR = 3.0  # times the trials per second of the usual loop
TOLERANCE = 0.02  # between validation correlations that count as equal
SEED = 0
NAME = "benchmark"
LOOPS = ("neuralpredictors", "neuroteach")
KEY = data_key(NAME)

SENSORIUM = EncoderConfig(
    core=CoreConfig(
        layers=4,
        hidden_channels=64,
        input_kernel=9,
        hidden_kernel=7,
        depth_separable=True,
        stack="last",
        skip=0,
        pad_input=False,
        gamma_input=6.3831,
    )
)


def simulated_scan(n_neurons: int, n_images: int) -> Recording:
    """A scan of neurons that only the image drives; 20 images are repeated, for the test tier."""
    cortex = SimulatedCortex(
        SimulatedCortexConfig(
            n_neurons=n_neurons, gaze_amplitude=0, running_gain=0, pupil_size_gain=0
        ),
        seed=SEED,
    )
    images = natural_stimuli(n_images + 20)
    return cortex.record(images, n_repeated=20, n_repeats=5, seed=SEED, name=NAME)


def write_tree(recording: Recording, root: Path) -> None:
    """The recording as the tree of files that neuralpredictors reads."""
    norm, train = recording.normalisation, recording.trials_of("train")
    trials = {
        "images": recording.images[recording.image_index].astype(np.float32),
        "responses": recording.responses,
    }
    statistics_ = {
        "images": (norm.image_mean, norm.image_std),
        "responses": (recording.responses[train].mean(0), norm.response_scale),
    }
    for name, values in trials.items():
        (root / "data" / name).mkdir(parents=True)
        for i, value in enumerate(values):
            np.save(root / "data" / name / f"{i}.npy", value)
        folder = root / "meta" / "statistics" / name / "all"
        folder.mkdir(parents=True)
        for statistic, value in zip(("mean", "std"), statistics_[name], strict=True):
            np.save(folder / f"{statistic}.npy", value)
    (root / "meta" / "trials").mkdir()
    np.save(root / "meta" / "trials" / "tiers.npy", recording.tier)
    (root / "meta" / "neurons").mkdir()
    np.save(root / "meta" / "neurons" / "unit_ids.npy", recording.neuron_ids)


def stock_model(recording: Recording) -> nn.Module:
    """The network of neuralpredictors' own parts, with the initial weights of this project's."""
    ours = build_encoder(
        SENSORIUM,
        {KEY: population_of(recording, SENSORIUM)},
        image_shape=recording.image_shape,
        seed=SEED,
    )
    settings, readout = SENSORIUM.core, SENSORIUM.readout
    core = stock.Stacked2dCore(
        input_channels=1,
        hidden_channels=settings.hidden_channels,
        input_kern=settings.input_kernel,
        hidden_kern=settings.hidden_kernel,
        layers=settings.layers,
        gamma_input=settings.gamma_input,
        stack=-1,
        pad_input=False,
        depth_separable=True,
        bias=False,
        momentum=settings.momentum,
        input_regularizer="LaplaceL2norm",
    )
    shape = core(torch.zeros(2, *recording.image_shape)).shape[1:]
    readouts = stock.MultiReadoutBase(
        in_shape_dict={KEY: tuple(shape)},
        n_neurons_dict={KEY: recording.n_neurons},
        base_readout=stock.FullGaussian2d,
        bias=True,
        gauss_type=readout.gauss_type,
        init_mu_range=readout.init_mu_range,
        init_sigma=readout.init_sigma,
        # Summed over neurons there, averaged here.
        feature_reg_weight=readout.gamma / recording.n_neurons,
    )
    model = stock.FiringRateEncoder(core, readouts)
    model.load_state_dict(ours.state_dict())
    return model


def stock_epochs(
    recording: Recording, root: Path, settings: FitConfig, scores: list[float]
) -> Iterator[None]:
    """The usual loop, pausing after each epoch; notes each validation correlation in ``scores``."""
    library = stock.training()
    data = library.FileTreeDataset(str(root), "images", "responses")
    data.transforms = [library.NeuroNormalizer(data), library.ToTensor(cuda=False)]
    tiers = data.trial_info.tiers
    train = DataLoader(
        data,
        batch_size=settings.batch_size,
        sampler=SubsetRandomSampler(
            np.flatnonzero(tiers == "train").tolist(),
            generator=torch.Generator().manual_seed(SEED),
        ),
    )
    validation = DataLoader(
        data,
        batch_size=settings.batch_size,
        sampler=np.flatnonzero(tiers == "validation").tolist(),
    )
    model = stock_model(recording)
    loss_of = library.PoissonLoss(avg=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=settings.learning_rate)

    def score(model: nn.Module) -> float:
        with torch.no_grad():
            pairs = [(model(batch.images, data_key=KEY), batch.responses) for batch in validation]
        predicted, observed = (torch.cat(parts).numpy() for parts in zip(*pairs, strict=True))
        scores.append(float(correlation(predicted, observed).mean()))
        return scores[-1]

    epochs = library.early_stopping(
        model,
        score,
        interval=1,
        patience=settings.patience,
        tolerance=settings.tolerance,
        max_iter=settings.max_epochs + 1,  # what it does after the last one is not timed
        lr_decay_steps=settings.decay_steps,
    )
    next(epochs)  # it validates once before it starts
    while True:
        model.train()
        for key, batch in library.LongCycler({KEY: train}):
            optimizer.zero_grad()
            loss = loss_of(model(batch.images, data_key=key), batch.responses)
            (loss + model.regularizer(data_key=key)).backward()
            optimizer.step()
        next(epochs)
        yield


def memory_of(loop: str, recording: Recording) -> int:
    """Megabytes by which an epoch raises this process's resident memory at most."""
    settings = FitConfig(max_epochs=1)
    with tempfile.TemporaryDirectory() as folder:
        if loop == "neuralpredictors":
            write_tree(recording, Path(folder))
        stock.training()
        if loop == "neuralpredictors":
            return peak_memory(lambda: next(stock_epochs(recording, Path(folder), settings, [])))
        return peak_memory(lambda: fit(recording, SENSORIUM, settings, SEED))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=10, help="the first one is not timed")
    parser.add_argument("--images", type=int, default=1100, help="a tenth of them for validation")
    parser.add_argument("--neurons", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=1, help="one is disturbed least by others")
    parser.add_argument("--json", action="store_true", help="print a JSON object last")
    parser.add_argument("--memory-of", choices=LOOPS, help="print MB that one loop needs, only")
    args = parser.parse_args()
    if args.epochs < 2:
        parser.error("--epochs: at least 2, since the first one is not timed")
    torch.set_num_threads(args.threads)

    recording = simulated_scan(args.neurons, args.images)
    if args.memory_of:
        print(memory_of(args.memory_of, recording))
        return
    n_trials = len(recording.trials_of("train"))
    # Neither side decays its learning rate in so few epochs.
    settings = FitConfig(max_epochs=args.epochs, patience=args.epochs + 1)
    scores: list[float] = []
    seconds: dict[str, list[float]] = {loop: [] for loop in LOOPS}
    with tempfile.TemporaryDirectory() as folder:
        write_tree(recording, Path(folder))
        usual = stock_epochs(recording, Path(folder), settings, scores)

        def take_turns(epoch: FitEpoch) -> None:
            start = time.perf_counter()
            next(usual)
            seconds["neuralpredictors"].append(time.perf_counter() - start)
            seconds["neuroteach"].append(epoch.seconds)

        fitted = fit(recording, SENSORIUM, settings, SEED, progress=take_turns)
    options = [f"--{name}={getattr(args, name)}" for name in ("images", "neurons", "threads")]
    memory = memory_in_processes("encoder_fit", LOOPS, options)
    correlations = [max(scores[1:]), fitted.validation_correlation]
    report(args, recording, n_trials, seconds, correlations, memory)


def report(
    args: argparse.Namespace,
    recording: Recording,
    n_trials: int,
    seconds: dict[str, list[float]],
    correlations: list[float],
    memory: dict[str, int],
) -> None:
    timed = {name: values[1:] for name, values in seconds.items()}
    rates = {name: n_trials / statistics.median(values) for name, values in timed.items()}
    ratios = [a / b for a, b in zip(*timed.values(), strict=True)]
    ratio = statistics.median(ratios)
    scores = dict(zip(seconds, correlations, strict=True))
    equal = abs(correlations[0] - correlations[1]) <= TOLERANCE
    title = f"Fit of an encoder to {n_trials} trials of {recording.n_neurons} simulated neurons"
    facts = {
        "network": "4 layers of 64 channels, kernels 9 and 7, depth-separable; Gaussian readout",
        "image_size": "x".join(map(str, recording.image_shape[1:])),
        "batch_size": FitConfig().batch_size,
        "epochs": args.epochs,
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "machine": platform.machine(),
        "torch": torch.__version__,
    }
    columns = ("loop", "trials/s", "median s/epoch", "validation correlation", "memory, MB")
    table = Table(*columns, title=title)
    for name, values in timed.items():
        table.add_row(
            name,
            f"{rates[name]:.0f}",
            f"{statistics.median(values):.2f}",
            f"{scores[name]:.3f}",
            str(memory[name]),
        )
    console = Console()
    console.print(table)
    console.print(
        f"{ratio:.2f} times as fast (from {min(ratios):.2f} to {max(ratios):.2f} in single epochs; "
        f"the bar is {BAR:g}); validation correlations are {'equal' if equal else 'NOT equal'} "
        f"within {TOLERANCE}",
        highlight=False,
    )
    console.print(", ".join(f"{key}: {value}" for key, value in facts.items()), highlight=False)
    if args.json:
        result = {
            "title": title,
            "compared": "neuroteach",
            "baseline": "neuralpredictors",
            "ratio": ratio,
            "bar": BAR,
            "trials_per_second": rates,
            "validation_correlation": scores,
            "tolerance": TOLERANCE,
            "equal_correlation": equal,
            "memory_mb": memory,
            **facts,
        }
        print(json.dumps(result))


if __name__ == "__main__":
    main()
