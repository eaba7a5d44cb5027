"""Does the denoiser find the similarity that noise hides, and do shifter and modulator help it?

Simulates scans of the size of those of Li et al. 2019: the same 5,100 stimuli of 36 x 64 pixels in
each, 100 of them shown ten times, 6,000 trials. Each scan has neurons of its own, so noisy that
similarity in single trials correlates with the oracle's by about 0.4 (0.39 in the paper). Fits
encoders with shifter and modulator, without the one and without the other, and compares
similarities of the repeated images, which no encoder was fitted to. No animal is involved.

    python experiments/simulated_denoising.py --output simulated-denoising

Writes scores.json and similarity.png there, and a checkpoint after each epoch of a fit: a run that
was stopped goes on where it was.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, get_args

import matplotlib
import numpy as np
import pandas as pd
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy import stats

from pipeline.figures import STYLE
from pipeline.figures.similarity import matrices_figure
from predictive_model.encoders.config import (
    CoreConfig,
    EncoderConfig,
    ModulatorConfig,
    ShifterConfig,
)
from predictive_model.fits.config import FitConfig, FitEpoch
from predictive_model.fits.fitted import FittedEncoder, predict_recording
from predictive_model.fits.fitting import fit_jointly
from predictive_model.recordings.recording import Recording
from predictive_model.recordings.simulation import SimulatedCortex, SimulatedCortexConfig
from predictive_model.recordings.stimuli import natural_stimuli
from predictive_model.scoring.reliability import reliability
from predictive_model.scoring.scores import score_predictions
from regularized_training.teachers.config import Predictability
from regularized_training.teachers.predictability import model_weight, predictability
from regularized_training.teachers.similarity import (
    model_similarity,
    oracle_similarity,
    similarity,
    similarity_correlation,
    similarity_quality,
)

# Fewer neurons than the paper's 8,000, each of which says more: together they are as noisy.
CORTEX = SimulatedCortexConfig(
    centre_range=0.6,
    width=(10, 18),
    mean_rate=0.28,
    baseline_fraction=0.4,
    gaze_amplitude=2.5,
    running_gain=0.2,
    pupil_size_gain=0.15,
)
# Three layers with skips as in the paper, at half the resolution.
ENCODER = EncoderConfig(
    core=CoreConfig(layers=3, hidden_channels=16, input_kernel=7, stack="last"),
    shifter=ShifterConfig(),
    modulator=ModulatorConfig(),
    downsample=2,
)
FIT = FitConfig(learning_rate=0.02, max_epochs=14, patience=2, decay_steps=3)
CONDITIONS = {
    "shifter and modulator": ENCODER,
    "without shifter": ENCODER.model_copy(update={"shifter": None}),
    "without modulator": ENCODER.model_copy(update={"modulator": None}),
}
WHOLE, *ABLATIONS = CONDITIONS
AVERAGE = "average over scans"
IN_SCAN, OTHERS = "repeated images", "other images"
N_GAZES = 60
STIMULUS_SEED = 1  # those of seed 0 calibrate the cortex

Scan = tuple[SimulatedCortex, Recording]
console = Console(highlight=False, width=120)


def simulate(
    config: SimulatedCortexConfig, seeds: range, *, images: int, repeated: int, repeats: int
) -> list[Scan]:
    """One cortex and its recording for each seed, all with the same stimuli."""
    stimuli = natural_stimuli(images, config.image_shape, seed=STIMULUS_SEED)
    cortices = [SimulatedCortex(config, seed=seed) for seed in seeds]
    return [
        (
            cortex,
            cortex.record(
                stimuli,
                n_repeated=repeated,
                n_repeats=repeats,
                seed=cortex.seed,
                name=f"simulated{cortex.seed}",
            ),
        )
        for cortex in cortices
    ]


def without_each_repeat(
    trials: NDArray[np.float32], weight: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """S_oracle made without each repeat in turn, and S_data of that repeat.

    Parameters
    ----------
    trials : (image, repeat, neuron)
    weight : (neuron,)
        w_a of Eq. 1 of Li et al. 2019.

    Returns
    -------
    oracle, data : (repeat, image, image)
    """
    repeats = range(trials.shape[1])
    oracle = [oracle_similarity(np.delete(trials, k, axis=1), weight) for k in repeats]
    data = [similarity(trials[:, k], weight) for k in repeats]
    return np.stack(oracle), np.stack(data)


def mean_correlation(a: NDArray, b: NDArray) -> float:
    """Mean over the first axis of the correlations of similarity matrices; one may be the same."""
    a, b = np.broadcast_arrays(a, b)
    return float(np.mean([similarity_correlation(x, y) for x, y in zip(a, b, strict=True)]))


@dataclass(frozen=True, eq=False)
class Shown:
    """Similarities of the repeated images of one scan that no encoder is needed for.

    Attributes
    ----------
    images : (image, 1, height, width)
    oracle, data : (repeat, image, image)
        S_oracle made without each repeat in turn, S_data of that repeat.
    truth : (image, image)
        Without noise, at mean gaze and behaviour.
    blurred : (image, image)
        Without noise, responses averaged over where the animal looked, as S_oracle averages.
    """

    images: NDArray[np.uint8]
    oracle: NDArray[np.float32]
    data: NDArray[np.float32]
    truth: NDArray[np.float32]
    blurred: NDArray[np.float32]

    def scores(self, model: NDArray[np.float32]) -> dict[str, float]:
        """Correlations with the oracle; with the truth, where the name says so."""
        data, to_model = (mean_correlation(self.oracle, s) for s in (self.data, model))
        return {
            "data": data,
            "model": to_model,
            "margin": to_model - data,
            "noise_free": mean_correlation(self.oracle, self.truth),
            "noise_free_blurred": mean_correlation(self.oracle, self.blurred),
            "truth_data": mean_correlation(self.truth, self.data),
            "truth_model": similarity_correlation(self.truth, model),
        }


def shown_in_scan(scan: Scan) -> Shown:
    """The repeated images of the recording, its test tier."""
    _, recording = scan
    index = recording.images_of("test")
    return _shown(scan, recording.images[index], recording.repeated_trials(index))


def shown_afterwards(scan: Scan, images: NDArray[np.uint8], repeats: int) -> Shown:
    """Other images, repeated after the recording; weights as before."""
    cortex, recording = scan
    stimuli = np.concatenate([images, recording.images[:2]])  # a recording needs some to train on
    later = cortex.record(
        stimuli, n_repeated=len(images), n_repeats=repeats, seed=cortex.seed + 1, name="later"
    )
    return _shown(scan, images, later.repeated_trials(np.arange(len(images))))


def _shown(scan: Scan, images: NDArray, trials: NDArray[np.float32]) -> Shown:
    cortex, recording = scan
    weight = reliability(recording).weight
    oracle, data = without_each_repeat(trials, weight)
    assert recording.pupil is not None  # CORTEX moves its eyes
    some = np.random.default_rng(cortex.seed).integers(recording.n_trials, size=N_GAZES)
    gazes = [np.tile(pupil, (len(images), 1)) for pupil in recording.pupil[some]]
    looking_around = np.mean([cortex.rates(images, gaze) for gaze in gazes], axis=0)
    return Shown(
        images=images,
        oracle=oracle,
        data=data,
        truth=similarity(cortex.rates(images), weight),
        blurred=similarity(looking_around, weight),
    )


def averaged(scans: Sequence[Shown]) -> Shown:
    """The same images, each similarity averaged over scans as the paper's teacher is."""
    names = ("oracle", "data", "truth", "blurred")
    return replace(
        scans[0], **{name: np.mean([getattr(s, name) for s in scans], axis=0) for name in names}
    )


def response_scores(scan: Scan, fitted: FittedEncoder) -> dict[str, float]:
    """Means over neurons of correlations with single trials of the test tier."""
    _, recording = scan
    scores = score_predictions(recording, "test", predict_recording(fitted, recording, "test"))
    assert scores.oracle is not None  # the test tier is repeated
    return {
        "single_trial": float(scores.single_trial.mean()),
        "oracle_correlation": float(scores.oracle.mean()),
    }


def fit_condition(
    condition: str,
    scans: Sequence[Scan],
    fit_config: FitConfig,
    seed: int,
    *,
    apart: bool,
    output: Path,
) -> list[FittedEncoder]:
    """Encoders of all scans, which share a core unless they are fitted apart."""
    recordings = [recording for _, recording in scans]
    fitted: list[FittedEncoder] = []
    for group in [[r] for r in recordings] if apart else [recordings]:
        name = f"{condition}, {group[0].name}" if apart else condition

        def progress(epoch: FitEpoch, name: str = name) -> None:
            console.print(
                f"{name}: epoch {epoch.epoch} of at most {fit_config.max_epochs}, validation "
                f"correlation {epoch.validation_correlation:.4f}, {epoch.seconds:.0f} s"
            )

        fitted += fit_jointly(
            group,
            CONDITIONS[condition],
            fit_config,
            seed,
            checkpoint=output / f"{name.replace(',', '').replace(' ', '-')}.checkpoint",
            progress=progress,
        )
    return fitted


def scores_of(
    condition: str,
    scans: Sequence[Scan],
    fitted: Sequence[FittedEncoder],
    shown: dict[str, list[Shown]],
) -> list[dict[str, Any]]:
    """A row for each set of images and scan, and one for the matrices averaged over scans."""
    weights = [model_weight(r, f) for (_, r), f in zip(scans, fitted, strict=True)]
    rows: list[dict[str, Any]] = []
    for on, each in shown.items():
        about: dict[str, Any] = {"condition": condition, "on": on}
        predicted = [f.predict(s.images) for f, s in zip(fitted, each, strict=True)]
        for i, scan in enumerate(scans):
            model = model_similarity([predicted[i]], [weights[i]])
            row = {**about, "scan": scan[1].name, **each[i].scores(model)}
            if on == IN_SCAN:
                row |= response_scores(scan, fitted[i])
            rows.append(row)
        together = averaged(each).scores(model_similarity(predicted, weights))
        rows.append({**about, "scan": AVERAGE, **together})
    return rows


def choices_of_weights(
    scans: Sequence[Scan], fitted: Sequence[FittedEncoder], shown: dict[str, list[Shown]]
) -> list[dict[str, Any]]:
    """How well each choice of v_a in Eq. 6 recovers the noise-free similarity, scan by scan."""
    rows: list[dict[str, Any]] = []
    for (_, recording), encoder, i in zip(scans, fitted, range(len(scans)), strict=True):
        weight = reliability(recording).weight
        chosen = {c: predictability(recording, encoder, c) for c in get_args(Predictability)}
        for choice, v in {"1": np.ones_like(weight), **chosen}.items():
            for on, each in shown.items():
                model = similarity(encoder.predict(each[i].images), weight * v)
                rows.append(
                    {
                        "v": choice,
                        "on": on,
                        "scan": recording.name,
                        "mean_v": float(v.mean()),
                        "model": mean_correlation(each[i].oracle, model),
                        "truth_model": similarity_correlation(each[i].truth, model),
                    }
                )
    return rows


def report_choices(frame: pd.DataFrame, note: str) -> None:
    """Print how choices of v_a compare, and the difference to the first, ``trial``."""
    for on, group in frame.groupby("on", sort=False):
        truth = group.pivot(index="scan", columns="v", values="truth_model")
        gain = truth.sub(truth["trial"], axis=0)
        means = group.groupby("v", sort=False)[["mean_v", "model", "truth_model"]].mean()
        means["gain"], means["sem"] = gain.mean(), gain.sem()
        means["p"] = [
            "" if choice == "trial" else f"{stats.ttest_1samp(gain[choice], 0).pvalue:.1g}"
            for choice in means.index
        ]
        _print_frame(means.reset_index(), f"{on}, v_a of Eq. 6; gain over trial: {note}")


def paired_differences(frame: pd.DataFrame) -> pd.DataFrame:
    """What the whole encoder scores above each ablated one, scan by scan; two-sided t-test."""
    by_condition = {name: group.set_index("scan") for name, group in frame.groupby("condition")}
    rows = []
    for ablation in [name for name in ABLATIONS if name in by_condition]:
        for score in ("single_trial", "model", "truth_model"):
            gain = (by_condition[WHOLE][score] - by_condition[ablation][score]).dropna()
            if len(gain):
                rows.append(
                    {
                        "than": ablation,
                        "score": score,
                        "gain": gain.mean(),
                        "sem": gain.sem(),
                        "better_in": f"{(gain > 0).sum()} of {len(gain)}",
                        "p": f"{stats.ttest_1samp(gain, 0).pvalue:.1g}",
                    }
                )
    return pd.DataFrame(rows)


def report(frame: pd.DataFrame, note: str) -> None:
    """Print all there is to say."""
    for on, group in frame.groupby("on", sort=False):
        each = group[group["scan"] != AVERAGE].drop(columns="on")
        whole = each[each["condition"] == WHOLE].drop(columns="condition")
        _print_frame(whole, f"{on}, {WHOLE}: {note}")
        by_condition = each.groupby("condition", sort=False)
        for name, over in (("mean", by_condition.mean), ("SEM", by_condition.sem)):
            _print_frame(over(numeric_only=True).reset_index(), f"{on}, {name} over {note}")
        averages = group[group["scan"] == AVERAGE].drop(columns=["on", "scan"])
        _print_frame(averages, f"{on}, matrices averaged over {note}")
        _print_frame(paired_differences(each), f"{on}, how much better {WHOLE} is: {note}")


def _print_frame(frame: pd.DataFrame, title: str) -> None:
    frame = frame.dropna(axis=1, how="all")
    table = Table(title=title)
    for column in frame:
        table.add_column(str(column), overflow="fold")
    for row in frame.itertuples(index=False):
        table.add_row(*(f"{v:.3f}" if isinstance(v, float) else str(v) for v in row))
    console.print(table)


def draw(scan: Scan, fitted: FittedEncoder, path: Path) -> None:
    """Similarity matrices of one scan: single trials, oracle and model."""
    _, recording = scan
    quality = similarity_quality(recording, fitted)
    row = {
        "scan": recording.name,
        "simulated": recording.simulated,
        "n_images": len(quality.oracle),
        "oracle_matrix": quality.oracle,
        "data_matrix": quality.data,
        "model_matrix": quality.model,
        "data_correlation": quality.data_correlation,
        "model_correlation": quality.model_correlation,
        "oracle_ceiling": quality.oracle_ceiling,
    }
    with matplotlib.rc_context(STYLE):
        title = "Similarity of simulated responses; r: with the oracle"
        matrices_figure([row], title).savefig(path)


def main(
    output: Annotated[Path, typer.Option(help="Folder of checkpoints, scores and figure.")],
    scans: Annotated[int, typer.Option(min=2)] = 8,
    neurons: Annotated[int, typer.Option(help="In each scan.", min=2)] = 500,
    images: Annotated[int, typer.Option(help="Repeated ones included.", min=5)] = 5100,
    repeated: Annotated[int, typer.Option(help="Images that are repeated.", min=3)] = 100,
    repeats: Annotated[int, typer.Option(help="How often they are shown.", min=3)] = 10,
    epochs: Annotated[int, typer.Option(help="At most.", min=1)] = FIT.max_epochs,
    running_gain: Annotated[float, typer.Option(help="Mean change in log rate per s.d.")] = (
        CORTEX.running_gain
    ),
    pupil_size_gain: Annotated[float, typer.Option(help="Likewise.")] = CORTEX.pupil_size_gain,
    whole_only: Annotated[bool, typer.Option(help="Fit no encoders without a part.")] = False,
    first_seed: Annotated[int, typer.Option(help="Of the first scan; others count on.")] = 0,
    fit_seed: Annotated[int, typer.Option()] = 0,
    apart: Annotated[
        bool, typer.Option(help="Fit a core to each scan, as the paper does.")
    ] = False,
    other_images: Annotated[
        Path | None,
        typer.Option(help=".npy, (n, 1, 36, 64) uint8: compare on these too, shown afterwards."),
    ] = None,
) -> None:
    """Simulate, fit, compare."""
    output.mkdir(parents=True, exist_ok=True)
    others = None if other_images is None else np.load(other_images)
    changes = {
        "n_neurons": neurons,
        "running_gain": running_gain,
        "pupil_size_gain": pupil_size_gain,
    }
    cortex = CORTEX.model_copy(update=changes)
    fit_config = FIT.model_copy(update={"max_epochs": epochs})
    seeds = range(first_seed, first_seed + scans)
    simulated = simulate(cortex, seeds, images=images, repeated=repeated, repeats=repeats)
    shown = {IN_SCAN: [shown_in_scan(scan) for scan in simulated]}
    if others is not None:
        shown[OTHERS] = [shown_afterwards(scan, others, repeats) for scan in simulated]
    rows: list[dict[str, Any]] = []
    weighted: list[dict[str, Any]] = []
    for condition in [WHOLE] if whole_only else CONDITIONS:
        fitted = fit_condition(
            condition, simulated, fit_config, fit_seed, apart=apart, output=output
        )
        rows += scores_of(condition, simulated, fitted, shown)
        if condition == WHOLE:
            draw(simulated[0], fitted[0], output / "similarity.png")
            weighted = choices_of_weights(simulated, fitted, shown)
        results = {
            "simulated": True,
            "shared_core": not apart,
            "seeds": {"scans": list(seeds), "fit": fit_seed, "stimuli": STIMULUS_SEED},
            "trials": {"images": images, "repeated": repeated, "repeats": repeats},
            "cortex": cortex.model_dump(mode="json"),
            "encoder": ENCODER.model_dump(mode="json"),
            "fit": fit_config.model_dump(mode="json"),
            "scores": rows,
            "weights": weighted,
        }
        # After each condition, so that a long run can be looked into.
        (output / "scores.json").write_text(json.dumps(results, indent=1) + "\n")
    note = f"{scans} simulated scans of {neurons} neurons"
    report(pd.DataFrame(rows), note)
    report_choices(pd.DataFrame(weighted), note)


if __name__ == "__main__":
    typer.run(main)
