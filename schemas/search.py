"""Searches for good settings of an encoder or a network: their trials, and what became of each.

These rows are all there is of a search, and a search is resumed from them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import datajoint as dj

from predictive_model.encoders.config import EncoderConfig as EncoderSettings
from predictive_model.fits.config import FitConfig as FitSettings
from predictive_model.fits.config import FitEpoch
from schemas.base import PROVENANCE, Computed, Found, computing, schema
from schemas.checkpoints import checkpoint_path
from schemas.configurations import read_config
from schemas.encoding import EncoderConfig, FitConfig
from schemas.experiment import Experiment, Seed  # noqa: F401 - named in definitions
from schemas.recording import Scan

if TYPE_CHECKING:
    from predictive_model.fits.search_trial import Curve

MESSAGE_LENGTH = 1000


@schema
class Search(dj.Manual):
    """One search file."""

    definition = """
        search       : varchar(64)
        ---
        title        : varchar(255)
        sampler_seed : int32
        settings     : json          # the file's content, defaults expanded
        added        : datetime      # UTC
    """

    class Recording(dj.Part):
        """Scans whose encoders are searched for, or teach the networks that are."""

        definition = """
            -> master
            -> Scan
        """


@schema
class SearchTrial(dj.Manual):
    """Settings to be tried, each chosen by what was known when its number was taken."""

    definition = """
        -> Search
        number     : int32     # 0, 1, ...
        ---
        parameters : json      # value of each setting that is searched
        -> EncoderConfig
        -> FitConfig
        -> Seed
        proposed   : datetime  # UTC
    """

    class Epoch(dj.Part):
        """How far its fits are, also while they run."""

        definition = """
            -> master
            fit   : int16      # 0, 1, ...: one for each scan, or 0 for all with a shared core
            epoch : int32
            ---
            validation_correlation : float64
            seconds : float64
        """

    @classmethod
    def curves(cls, key: dict[str, Any], n_fits: int) -> list[dict[int, float]]:
        """Validation correlation by epoch of each fit of one trial."""
        curves: list[dict[int, float]] = [{} for _ in range(n_fits)]
        names = ("fit", "epoch", "validation_correlation")
        for row in (cls.Epoch & _named(key)).proj("validation_correlation").to_dicts():
            fit, epoch, value = (row[name] for name in names)
            curves[fit][epoch] = value
        return curves


def _named(key: dict[str, Any]) -> dict[str, Any]:
    return {"search": key["search"], "number": key["number"]}


@schema
class SearchResult(Computed):
    """What a trial came to. Its weights are not kept: the winner is fitted again."""

    in_experiments = False  # searches fill it

    definition = f"""
        -> SearchTrial
        ---
        state    : varchar(16)                   # complete, pruned, or failed
        validation_correlation = null : float64  # single trials, mean over the neurons of all scans
        n_epochs : int32
        message  : varchar({MESSAGE_LENGTH})     # why it failed
        {PROVENANCE}
    """

    def fetch(self, key: dict[str, Any]) -> tuple[Any, ...]:
        """Settings of encoder, fit and search."""
        trial = SearchTrial & key
        return (
            *(EncoderConfig & trial).fetch1("config", "needs"),
            *(FitConfig & trial).fetch1("config", "needs"),
            trial.fetch1("seed"),
            (Search & key).fetch1("settings"),
        )

    def compute(self, key: dict[str, Any], *settings: Any) -> Found:
        """Fit and validate."""
        from predictive_model.fits.search_trial import PruneConfig, run_trial

        encoder, encoder_needs, fit, fit_needs, seed, searched = settings
        device = computing().device
        # In the order in which experiments fit scans that share a core: the winner, fitted again,
        # gets the same weights.
        scans = sorted(searched["recordings"])
        n_fits = 1 if searched["share_core"] else len(scans)
        prune = searched["prune"]

        def report(place: int, epoch: FitEpoch) -> None:
            SearchTrial.Epoch.insert1(_epoch_row(key, place, epoch), skip_duplicates=True)
            computing().progress(
                f"trial {key['number']}: epoch {epoch.epoch}, "
                f"validation correlation {epoch.validation_correlation:.3f}"
            )

        outcome = run_trial(
            [Scan.load({"scan": scan}) for scan in scans],
            read_config(EncoderSettings, encoder, encoder_needs),
            read_config(FitSettings, fit, fit_needs),
            seed,
            share_core=searched["share_core"],
            prune=PruneConfig.model_validate(prune) if prune else None,
            completed=_completed(key, n_fits) if prune else (),
            resumed=SearchTrial.curves(key, n_fits),
            device=device,
            checkpoint=checkpoint_path(SearchResult, key),
            progress=report,
        )
        row = {
            "state": outcome.state,
            "validation_correlation": outcome.validation_correlation,
            "n_epochs": outcome.n_epochs,
            "message": outcome.message[:MESSAGE_LENGTH],
        }
        spent = float(sum((SearchTrial.Epoch & key).to_arrays("seconds")))
        return Found(row, device=device, seconds=spent)


@schema
class NetworkTrial(dj.Manual):
    """Settings of networks to be tried: each trial is an experiment, computed like any other.

    What it came to stands in the rows of its networks and evaluations, on the validation part.
    """

    definition = """
        -> Search
        number     : int32     # 0, 1, ...
        ---
        parameters : json      # value of each setting that is searched
        -> Experiment          # of the search's name, at the scale trial-NUMBER
        proposed   : datetime  # UTC
    """


def _epoch_row(key: dict[str, Any], fit: int, epoch: FitEpoch) -> dict[str, Any]:
    return {
        **_named(key),
        "fit": fit,
        "epoch": epoch.epoch,
        "validation_correlation": epoch.validation_correlation,
        "seconds": epoch.seconds,
    }


def _completed(key: dict[str, Any], n_fits: int) -> list[list[Curve]]:
    """Curves of the completed trials of a search, by fit."""
    done = SearchResult & {"search": key["search"], "state": "complete"}
    each = [SearchTrial.curves(k, n_fits) for k in done.keys(order_by="number")]
    return [[curves[fit] for curves in each] for fit in range(n_fits)]
