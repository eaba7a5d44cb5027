"""How good model similarity is, how stable over scans and repeats, and what structure it has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import datajoint as dj

from schemas.base import PROVENANCE, Computed, Found, schema
from schemas.encoding import EncoderAnalysis, FitPlan, FittedEncoder
from schemas.experiment import Experiment  # noqa: F401 - named in a definition
from schemas.recording import Scan
from schemas.teacher_plan import ScanGroup

if TYPE_CHECKING:
    from regularized_training.teachers.populations import Population
    from regularized_training.teachers.stability import Stability

# How the neurons of a scan that has no other to be compared with are divided.
PARTS, PARTS_SEED = 2, 0


@schema
class SimilarityQuality(EncoderAnalysis):
    """Fig. 1D of Li et al. 2019: does the model's similarity agree with the oracle's?

    Over the repeated images of the test tier; single trials are kept out of the oracle that they
    are compared with.
    """

    definition = f"""
        -> FittedEncoder
        ---
        status    : varchar(16)                # ok, or no repeats
        n_images  : int32
        n_repeats : int32
        model_correlation = null : float64     # corr(S_oracle, S_model)
        data_correlation = null : float64      # corr(S_oracle, S_data)
        oracle_ceiling = null : float64        # agreement of the oracle with itself
        oracle_matrix = null : <npy@main>      # (image, image) float32
        model_matrix = null : <npy@main>
        data_matrix = null : <npy@main>        # of the first trial of each image
        {PROVENANCE}
    """

    def compute(self, key: dict[str, Any], *settings: Any) -> Found:
        """Compare the three similarities of one scan."""
        from regularized_training.teachers import similarity

        recording = Scan.load(key)
        images = recording.images_of("test")
        n = int((recording.repeats[images] >= 2).sum())
        if n < 3:
            return Found(dict(status="no repeats", n_images=n, n_repeats=0))
        q = similarity.similarity_quality(recording, FittedEncoder.load(key))
        return Found(
            dict(
                status="ok",
                n_images=n,
                n_repeats=q.n_repeats,
                model_correlation=q.model_correlation,
                data_correlation=q.data_correlation,
                oracle_ceiling=q.oracle_ceiling,
                oracle_matrix=q.oracle,
                model_matrix=q.model,
                data_matrix=q.data,
            )
        )


@schema
class SimilarityStructure(EncoderAnalysis):
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

    def compute(self, key: dict[str, Any], *settings: Any) -> Found:
        """Describe the similarities of one scan."""
        from regularized_training.teachers import structure

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
        return Found(row)


@schema
class StabilityPlan(dj.Manual):
    """Groups of scans whose similarities an experiment compares: all that it fits an encoder to."""

    definition = """
        -> Experiment
        ---
        -> ScanGroup
    """


@schema
class SimilarityStability(Computed):
    """Eq. 4 and 5 of Li et al. 2019 over the scans of a group.

    A scan without another to be compared with is divided into two random halves of its units,
    which saw the same trials.
    """

    definition = f"""
        -> ScanGroup
        ---
        status   : varchar(20)    # scans, parts of one scan, no common images, no repeats ...
        scans    : varchar(255)   # names of those with repeats, for people
        simulated : bool          # true if any of them is
        n_populations : int32     # compared: scans, or parts of one
        n_images : int32          # repeated test images common to all
        parts_seed = null : int32       # of the division into parts
        scan_sd = null : float64        # Eq. 4, over pairs i < j
        repeat_sd = null : float64      # Eq. 5, extrapolated to infinite repeats
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
        """Planned groups whose encoders are all fitted."""
        unfitted = ScanGroup.Member.proj() - FittedEncoder.proj()
        return ScanGroup.proj() & StabilityPlan - unfitted

    @classmethod
    def planned(cls, experiments: Any) -> Any:
        """Groups that experiments compare."""
        return StabilityPlan & experiments

    def compute(self, key: dict[str, Any], *settings: Any) -> Found:
        """Compare all scans of one group."""
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
        parts = [
            {
                **(fits[0] if divided else fits[k]),
                "population": k,
                "part": k + 1 if divided else 0,
                "n_neurons": population.n_neurons,
                "repeat_sd": _repeat_sd(population),
                "oracle_matrix": population.oracle(),
                "model_matrix": population.model(),
            }
            for k, population in enumerate(compared)
        ]
        return Found(row | _summary(found), {"Population": parts})


def _scans_with_repeats(
    key: dict[str, Any],
) -> tuple[list[dict[str, Any]], list[Population]]:
    """Scans of a group, each with its encoder, as far as they have repeated images to compare."""
    from regularized_training.teachers import populations, structure

    fits, wholes = [], []
    for fit in (FittedEncoder & (ScanGroup.Member & key).proj()).keys(order_by="KEY"):
        recording = Scan.load(fit)
        repeated = (recording.repeats[recording.images_of("test")] >= 2).sum()
        if repeated >= structure.MINIMAL_IMAGES:
            fits.append(fit)
            wholes.append(populations.population(recording, FittedEncoder.load(fit)))
    return fits, wholes


def _compare(
    wholes: Sequence[Population],
) -> tuple[str, Sequence[Population], Stability | None]:
    """Status, what was compared with each other, and the result."""
    from regularized_training.teachers import populations, stability

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


def _summary(found: Stability | None) -> dict[str, Any]:
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


def _repeat_sd(population: Population) -> float | None:
    from regularized_training.teachers import stability

    spread = stability.repeat_spread([population])
    return None if spread is None else spread.sd
