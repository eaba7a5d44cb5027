"""Networks beside macaque V1, monkey IT and human IT by what they find alike (RSA), layer by layer.

Dissimilarities of 92 images of objects in monkey and human IT (Kriegeskorte et al. 2008), and of
pairs of 956 images in macaque V1 (Coen-Cagli et al. 2015, as Federer et al. 2020 released them),
beside pixels, Gabor energies, CORnet-S, CORnet-Z and a VOneNet with random weights, and networks in
files, as both MobileNets of ImageNet:

    python experiments/network_dissimilarities.py it rdm92.npz mobilenet_v1_0.5_160_quant.json
    python experiments/network_dissimilarities.py v1 v1_rsm.npz mobilenet_v1_0.5_160_quant.json

Comparisons are Spearman's. Four human subjects bound what a true model would score (Nili et al.
2014); of the monkeys, and of V1, there is nothing that does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy.stats import rankdata
from torch.nn import functional as F

from predictive_model.recordings.gabor import GaborEnergies
from predictive_model.recordings.gabor_config import GaborConfig
from predictive_model.scoring.bootstrap import percentile_intervals
from regularized_training.alignment.rsa import (
    compare_rdms,
    interval_over_images,
    noise_ceiling,
    rdm,
)
from regularized_training.networks.architectures import build_network, load_network
from regularized_training.networks.compared import compared_layers
from regularized_training.networks.config import NetworkConfig
from regularized_training.networks.graph_files import read_graph
from regularized_training.networks.layer_reader import LayerReader, readable_layers
from regularized_training.networks.v1_config import V1Config

SIDE = 128  # pixels, of images before pixels, Gabors and networks with random weights
COARSE = 32  # pixels of a side, compared as such
WIDTH = 16  # of networks with random weights
RANDOM = {
    "CORnet-Z": NetworkConfig(architecture="cornet_z", width=WIDTH),
    "CORnet-S": NetworkConfig(architecture="cornet_s", width=WIDTH),
    "VOneResNet18": NetworkConfig(
        architecture="resnet18", width=WIDTH, v1=V1Config(image_size=SIDE, noise="off")
    ),
}
NATURAL = 540  # the first images of the set of V1; the others are gratings
HALVES = 20  # random ones, of which one half chooses a layer and the other scores it
BATCH = 32
COLUMNS = 512  # features of all images that are multiplied at a time
app = typer.Typer(help=__doc__, add_completion=False)


@dataclass(frozen=True, eq=False)
class Features:
    """Of one layer, (image, feature)."""

    system: str
    layer: str
    values: NDArray[np.float32]


def features_of(
    images: NDArray[np.uint8], graphs: list[Path], seeds: int, every: int
) -> Iterator[Features]:
    """Each system's layers for images (image, height, width, channels), one system at a time.

    Of networks in files all outputs of a clipped ReLU behind a pointwise convolution, or each
    ``every``th, and the mean over space.
    """
    shown = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    if shown.shape[1] == 1:
        shown = shown.expand(-1, 3, -1, -1)
    small = _resized(shown, SIDE)
    yield Features("pixels", "", _resized(shown, COARSE).flatten(1).numpy())
    with torch.inference_mode():
        gabor = GaborEnergies(GaborConfig(), (3, SIDE, SIDE))
        energies = [gabor(batch).flatten(1) for batch in small.split(BATCH)]
        yield Features("Gabor energies", "", torch.cat(energies).numpy())
    for name, config in RANDOM.items():
        for seed in range(seeds):
            network = build_network(config, 3, 10, seed)
            layers = compared_layers(config, None)
            yield from _layers(f"{name}, random weights", network, layers, small)
    for file in graphs:
        graph = read_graph(file)
        network = load_network(graph.config, graph.n_channels, 1001, graph.state)
        clipped = [name for name in readable_layers(network) if name.startswith("clipped_relu")]
        layers = (*clipped[:: 2 * every], "gap1")
        yield from _layers(file.stem, network, layers, _resized(shown, graph.image_size or SIDE))


def _resized(images: torch.Tensor, side: int) -> torch.Tensor:
    found = F.interpolate(images, (side, side), mode="bilinear", antialias=True)
    return found.clamp(0, 1)


def _layers(
    system: str, network: torch.nn.Module, layers: tuple[str, ...], images: torch.Tensor
) -> Iterator[Features]:
    network.eval()
    parts: dict[str, list[NDArray[np.float32]]] = {layer: [] for layer in layers}
    with torch.inference_mode():
        reader = LayerReader(network, layers)
        for batch in images.split(BATCH):
            for layer, found in zip(layers, reader(batch), strict=True):
                parts[layer].append(found.flatten(1).numpy().copy())
    for layer in layers:
        yield Features(system, layer, np.concatenate(parts.pop(layer)))


# -- IT ------------------------------------------------------------------------------------------


def score_of_subjects(model: NDArray, subjects: NDArray) -> float:
    """Mean over subjects of a model's similarity to each."""
    return float(np.mean([compare_rdms(model, subject) for subject in subjects]))


def on_other_images(rdms: list[NDArray], target: NDArray) -> float:
    """Score of the best layer, chosen on half of the images and scored on the other; mean."""
    rng, found = np.random.default_rng(0), []
    for _ in range(HALVES):
        order = rng.permutation(len(target))
        choose, score = (
            np.ix_(half, half) for half in (order[: len(order) // 2], order[len(order) // 2 :])
        )
        best = max(rdms, key=lambda one: compare_rdms(one[choose], target[choose]))
        found.append(compare_rdms(best[score], target[score]))
    return float(np.mean(found))


@app.command("it")
def compare_it(
    file: Annotated[Path, typer.Argument(help="rdm92.npz")],
    graphs: Annotated[list[Path], typer.Argument(help="Networks in files (.json).")],
    seeds: Annotated[int, typer.Option(min=1, help="Of random weights.")] = 3,
) -> None:
    """Monkey and human IT."""
    with np.load(file) as arrays:
        images = arrays["images"]
        monkey = arrays["monkey_IT_674"]
        subjects = arrays["human_IT_subj_session"].astype(np.float64).mean(1)
    human = subjects.mean(0)
    bounds = noise_ceiling(subjects)
    print(
        f"human IT: {bounds.n_subjects} subjects, a true model's score from {bounds.lower:.3f} to "
        f"{bounds.upper:.3f}; monkey IT with the mean of human IT {compare_rdms(monkey, human):.3f}"
        f", with subjects {score_of_subjects(monkey, subjects):.3f}"
    )
    found: dict[str, dict[str, list[NDArray]]] = {}
    for one in features_of(images, graphs, seeds, every=1):
        found.setdefault(one.system, {}).setdefault(one.layer, []).append(rdm(one.values))
    table = Table(title="Each layer: mean over subjects of human IT, and monkey IT")
    for column in ("system", "layer", "human IT", "share of lower bound", "monkey IT"):
        table.add_column(column, justify="left" if column in ("system", "layer") else "right")
    for system, layers in found.items():
        for layer, rdms in layers.items():
            of_human = float(np.mean([score_of_subjects(one, subjects) for one in rdms]))
            of_monkey = float(np.mean([compare_rdms(one, monkey) for one in rdms]))
            values = (f"{of_human:.3f}", f"{of_human / bounds.lower:.2f}", f"{of_monkey:.3f}")
            table.add_row(system, layer, *values)
    Console(width=120).print(table)

    table = Table(title="Best layer (of seed 0), 95 % over images; and as chosen on other images")
    for column in ("system", "area", "layer", "rho", "95 %", "on other images"):
        table.add_column(column, justify="left" if column in ("system", "layer") else "right")
    for system, layers in found.items():
        firsts = {layer: rdms[0] for layer, rdms in layers.items()}
        for area, target in (("human IT", human), ("monkey IT", monkey)):
            best = max(firsts, key=lambda layer: compare_rdms(firsts[layer], target))
            low, high = interval_over_images(firsts[best], target, n_resamples=200)
            table.add_row(
                system,
                area,
                best,
                f"{compare_rdms(firsts[best], target):.3f}",
                f"{low:.2f}, {high:.2f}",
                f"{on_other_images(list(firsts.values()), target):.3f}",
            )
    Console(width=120).print(table)


# -- V1 ------------------------------------------------------------------------------------------


def cosines(values: NDArray[np.float32], pairs: NDArray[np.int64]) -> NDArray[np.float64]:
    """Cosine of the features of each pair, whose images need not be all pairs."""
    products = np.zeros(len(pairs))
    power = np.zeros(len(values))
    for start in range(0, values.shape[1], COLUMNS):
        part = np.ascontiguousarray(values[:, start : start + COLUMNS])
        products += np.einsum("pf,pf->p", part[pairs[:, 0]], part[pairs[:, 1]])
        power += np.einsum("if,if->i", part, part)
    scale = np.sqrt(power[pairs[:, 0]] * power[pairs[:, 1]])
    return np.divide(products, scale, out=np.zeros_like(products), where=scale > 0)


def spearman(a: NDArray, b: NDArray) -> float:
    """Rank correlation."""
    return float(np.corrcoef(rankdata(a), rankdata(b))[0, 1])


def interval_over_paired_images(
    said: NDArray, seen: NDArray, pairs: NDArray[np.int64], n_images: int
) -> tuple[float, float]:
    """Percentile bootstrap over images: a pair counts as often as both of its images together."""

    def statistic(drawn: NDArray[np.int64]) -> float:
        times = np.bincount(drawn, minlength=n_images)
        rows = np.repeat(np.arange(len(pairs)), times[pairs].prod(1))
        return spearman(said[rows], seen[rows]) if len(rows) > 2 else np.nan

    low, high = percentile_intervals(statistic, n_images, n_resamples=100)[0]
    return float(low), float(high)


@app.command("v1")
def compare_v1(
    file: Annotated[Path, typer.Argument(help="v1_rsm.npz")],
    graphs: Annotated[list[Path], typer.Argument(help="Networks in files (.json).")],
) -> None:
    """Macaque V1, over the given pairs of images; every other layer of networks in files."""
    with np.load(file) as arrays:
        images = arrays["images227"][..., None]
        pairs = arrays["v1_pairs"].astype(np.int64)
        seen = -arrays["v1_dissim"]
        again, of_again = arrays["v1_avg_pairs"].astype(np.int64), arrays["v1_avg_dissim"]
    differ = pairs[:, 0] != pairs[:, 1]
    pairs, seen = pairs[differ], seen[differ]
    natural = (pairs < NATURAL).all(1)
    gratings = (pairs >= NATURAL).all(1)
    second = dict(zip(map(tuple, np.sort(again, 1).tolist()), -of_again, strict=True))
    both = np.array([second.get(tuple(pair), np.nan) for pair in np.sort(pairs, 1).tolist()])
    known = np.isfinite(both)
    print(
        f"{len(pairs)} pairs, {natural.sum()} of natural images, {gratings.sum()} of gratings; "
        f"the second set of distances, over {known.sum()} common pairs: "
        f"{spearman(both[known], seen[known]):.3f}"
    )
    table = Table(title="Each layer: cosines beside those of macaque V1, Spearman")
    for column in ("system", "layer", "all pairs", "95 % over images", "natural", "gratings"):
        table.add_column(column, justify="left" if column in ("system", "layer") else "right")
    for one in features_of(images, graphs, seeds=1, every=2):
        said = cosines(one.values, pairs)
        low, high = interval_over_paired_images(said, seen, pairs, len(images))
        table.add_row(
            one.system,
            one.layer,
            f"{spearman(said, seen):.3f}",
            f"{low:.2f}, {high:.2f}",
            *(f"{spearman(said[which], seen[which]):.3f}" for which in (natural, gratings)),
        )
    Console(width=120).print(table)


def main() -> None:
    """Run the command that was asked for."""
    app()


if __name__ == "__main__":
    main()
