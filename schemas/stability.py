"""How stable similarity is over scans and repeats, and what structure it has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import datajoint as dj

from regularized_training.teachers import populations, stability, structure
from schemas.base import PROVENANCE, Stopwatch, schema
from schemas.encoding import FitPlan, FittedEncoder
from schemas.experiment import Experiment
from schemas.recording import Scan

# How the neurons of a scan that has no other to be compared with are divided.
PARTS, PARTS_SEED = 2, 0


@schema
class SimilarityStructure(dj.Computed):
    """Range and spectrum of recorded, oracle and model similarity of one scan."""

    definition = f"""
        -> FittedEncoder
        ---
        status      : varchar(16)             # ok, or no repeats
        tier        : varchar(16)             # where the images are from
        n_images    : int32
        weighted    : bool                    # false: reliability unknown, all w_a = 1
        model_correlation : float64           # with the oracle; without one with the recorded
        recorded_sd       : float64           # over pairs i < j
        oracle_sd = null  : float64
        model_sd          : float64
        recorded_range       : float64        # 97.5th minus 2.5th percentile
        oracle_range = null  : float64
        model_range          : float64
        recorded_dimension      : float64     # participation ratio of the eigenvalues
        oracle_dimension = null : float64
        model_dimension         : float64
        images         : <npy@main>           # (image,) numbers in the stimulus set
        recorded_matrix : <npy@main>          # (image, image) float32
        oracle_matrix = null : <npy@main>
        model_matrix : <npy@main>
        recorded_eigenvalues : <npy@main>     # (image,) largest first, positive ones sum to 1
        oracle_eigenvalues = null : <npy@main>
        model_eigenvalues : <npy@main>
        {PROVENANCE}
    """

    @property
    def key_source(self) -> Any:
        """Encoders that some experiment asks for."""
        return FittedEncoder.proj() & FitPlan.proj()

    def make(self, key: dict[str, Any]) -> None:
        """Describe the similarities of one scan."""
        watch = Stopwatch()
        found = structure.similarity_structure(Scan.load(key), FittedEncoder.load(key))
        row: dict[str, Any] = dict(
            status="no repeats" if found.oracle is None else "ok",
            tier=found.tier,
            n_images=len(found.images),
            weighted=found.weighted,
            model_correlation=found.model_correlation,
            images=found.images,
        )
        for name in ("recorded", "oracle", "model"):
            matrix = getattr(found, name)
            if matrix is None:
                continue
            spread = structure.spread(structure.pairs_of(matrix))
            spectrum = structure.spectrum(matrix)
            row[f"{name}_sd"] = spread.sd
            row[f"{name}_range"] = spread.range
            row[f"{name}_dimension"] = spectrum.participation_ratio
            row[f"{name}_matrix"] = matrix
            row[f"{name}_eigenvalues"] = spectrum.eigenvalues
        self.insert1({**key, **row, **watch.provenance()})


@schema
class SimilarityStability(dj.Computed):
    """Eq. 4 and 5 of Li et al. 2019 over the scans of an experiment.

    A scan without another to be compared with is divided into two random halves of its units,
    which saw the same trials.
    """

    definition = f"""
        -> Experiment
        ---
        status   : varchar(20)    # scans, parts of one scan, no common images, no repeats ...
        scans    : varchar(255)   # names of those with repeats, for people
        simulated : bool          # true if any of them is
        n_populations : int32     # compared: scans, or parts of one
        n_images : int32          # repeated test images common to all
        parts_seed = null : int32       # of the division into parts
        scan_sd = null : float64        # Eq. 4, over pairs i < j
        repeat_sd = null : float64      # Eq. 5, as endlessly many repeats would have it
        trial_sd = null : float64       # of scan_sd, what finitely many trials make alone
        neuron_sd = null : float64      # of scan_sd, what the selection of neurons makes alone
        scan_quantiles = null : json    # at 2.5, 25, 50, 75 and 97.5 per cent
        repeat_quantiles = null : json
        edges = null : <npy@main>           # (bin + 1,) of both histograms
        scan_density = null : <npy@main>    # (bin,)
        repeat_density = null : <npy@main>
        {PROVENANCE}
    """

    class Population(dj.Part):
        """One of the scans, or a part of one, with its matrices."""

        definition = """
            -> master
            population : int16
            ---
            -> FittedEncoder
            part       : int16          # 0 for all units of the scan
            n_neurons  : int32
            repeat_sd = null : float64  # Eq. 5, as above
            oracle_matrix : <npy@main>  # (image, image) float32; images common to all populations
            model_matrix : <npy@main>
        """

    @property
    def key_source(self) -> Any:
        """Experiments whose encoders are all fitted."""
        unfitted = FitPlan.proj() - FittedEncoder.proj()
        return (Experiment.proj() & FitPlan.proj()) - unfitted

    def make(self, key: dict[str, Any]) -> None:
        """Compare all scans of one experiment."""
        watch = Stopwatch()
        fits, wholes = _scans_with_repeats(key)
        status, compared, found = _compare(wholes)
        divided = len(compared) > len(wholes)
        names = [fit["scan"] for fit in fits]
        simulated = Scan & [{"scan": name} for name in names] & "simulated" if names else ()
        row: dict[str, Any] = dict(
            status=status,
            scans=", ".join(names)[:255],
            simulated=bool(len(simulated)),
            n_populations=len(compared),
            parts_seed=PARTS_SEED if divided else None,
        )
        self.insert1({**key, **row, **_summary(found), **watch.provenance()})
        self.Population.insert(
            {
                **key,
                **(fits[0] if divided else fits[k]),
                "population": k,
                "part": k + 1 if divided else 0,
                "n_neurons": population.n_neurons,
                "repeat_sd": _repeat_sd(population),
                "oracle_matrix": population.oracle(),
                "model_matrix": population.model(),
            }
            for k, population in enumerate(compared)
        )


def _scans_with_repeats(
    key: dict[str, Any],
) -> tuple[list[dict[str, Any]], list[populations.Population]]:
    """Scans of an experiment, each with its encoder; of several of a scan the first by key."""
    fits: dict[str, dict[str, Any]] = {}
    for fit in (FittedEncoder & (FitPlan & key).proj()).keys(order_by="KEY"):
        fits.setdefault(fit["scan"], fit)
    wholes = []
    for scan, fit in list(fits.items()):
        recording = Scan.load(fit)
        repeated = (recording.repeats[recording.images_of("test")] >= 2).sum()
        if repeated >= structure.MINIMAL_IMAGES:
            wholes.append(populations.population(recording, FittedEncoder.load(fit)))
        else:
            del fits[scan]
    return list(fits.values()), wholes


def _compare(
    wholes: Sequence[populations.Population],
) -> tuple[str, Sequence[populations.Population], stability.Stability | None]:
    """Status, what was compared with each other, and the result."""
    if not wholes:
        return "no repeats", wholes, None
    if len(wholes) > 1:
        try:
            compared = populations.on_common_images(wholes)
        except populations.NoCommonImagesError:
            return "no common images", wholes, None
        return "scans", compared, stability.stability(compared)
    if wholes[0].n_neurons < 2 * PARTS:
        return "too few units", wholes, stability.stability(wholes)
    compared = populations.split_units(wholes[0], PARTS, seed=PARTS_SEED)
    return "parts of one scan", compared, stability.stability(compared, same_trials=True)


def _summary(found: stability.Stability | None) -> dict[str, Any]:
    if found is None:
        return {"n_images": 0}
    scan, repeat = found.scan, found.repeat
    return dict(
        n_images=found.n_images,
        scan_sd=None if scan is None else scan.sd,
        repeat_sd=None if repeat is None else repeat.sd,
        trial_sd=found.trial_sd,
        neuron_sd=found.neuron_sd,
        scan_quantiles=None if scan is None else list(scan.quantiles),
        repeat_quantiles=None if repeat is None else list(repeat.quantiles),
        edges=found.edges,
        scan_density=found.scan_density,
        repeat_density=found.repeat_density,
    )


def _repeat_sd(population: populations.Population) -> float | None:
    spread = stability.repeat_spread([population])
    return None if spread is None else spread.sd
