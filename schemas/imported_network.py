"""Networks that others trained, with all that is known of where they are from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import datajoint as dj

from predictive_model.recordings.recording import check_name
from regularized_training.networks.config import NetworkConfig as NetworkSettings
from schemas.base import (
    PROVENANCE,
    Stopwatch,
    described_origins,
    insert_rows,
    schema,
    transaction,
)
from schemas.configurations import read_config
from schemas.stored import Attached, read_attached
from schemas.training_plan import NetworkConfig, TrainingConfig

if TYPE_CHECKING:
    from regularized_training.networks.imported import ImportedNetwork as Imported

TEXTS = ("trained_on", "licence", "source")


@schema
class ImportedNetwork(dj.Manual):
    """Networks that others trained.

    Whatever image set it is tested on, there is a row of ``TrainedNetwork`` for it then, with the
    outputs that give the classes of this set.
    """

    extends = "TrainingConfig"  # goes wherever that goes, which experiments ask for

    definition = f"""
        -> TrainingConfig
        ---
        imported_network : varchar(64)    # its name, of which there is one only
        -> NetworkConfig
        trained_on = ""  : varchar(255)   # training images, as far as it is known
        licence = ""     : varchar(255)
        source = ""      : varchar(255)
        n_channels       : int16          # of its images
        image_size       : int32          # of a side, in pixels, that it was tried with
        classes          : json           # what each output means, in their order
        digest           : char(64)       # of weights, settings and classes
        weights          : <attach@main>  # safetensors
        {PROVENANCE}
    """

    @classmethod
    def add(
        cls,
        name: str,
        network: Imported,
        *,
        trained_on: str = "",
        licence: str = "",
        source: str = "",
    ) -> bool:
        """Insert a network; False if the very same is there already.

        Parameters
        ----------
        name : str
            By which experiments ask for it.
        network : ImportedNetwork
        trained_on, licence, source : str
            For people, of at most 255 characters.

        Raises
        ------
        ValueError
            If another one has this name, or other things are said of it, or too much.
        """
        from predictive_model.tensor_file import tensors_to_bytes
        from regularized_training.networks.registry import find_network

        watch = Stopwatch()
        check_name(name)
        said = dict(zip(TEXTS, (trained_on, licence, source), strict=True))
        if long := [column for column, text in said.items() if len(text) > 255]:
            raise ValueError(
                f"{long[0]}: {len(said[long[0]])} characters, expected at most 255; say it shorter"
            )
        digest = network.digest
        with transaction(cls.connection):
            if present := (cls & {"imported_network": name}).to_dicts():
                _require_same(name, present[0], digest, said)
                return False
            settings = NetworkConfig.row(network.config)
            training = TrainingConfig.imported_row(name, digest)
            NetworkConfig.insert1(settings, skip_duplicates=True)
            TrainingConfig.insert1(training, skip_duplicates=True)
            row = dict(
                imported_network=name,
                network_hash=settings["network_hash"],
                training_hash=training["training_hash"],
                n_channels=network.n_channels,
                image_size=network.image_size,
                classes=list(network.classes),
                digest=digest,
                weights=Attached("weights.safetensors", tensors_to_bytes(network.state, {})),
            )
            made = watch.provenance()
            made["origins"] = described_origins([find_network(network.config.architecture)])
            insert_rows(cls(), [{**row, **said, **made}])
        return True

    @classmethod
    def load(cls, key: Mapping[str, Any]) -> Imported:
        """A network by a key that has its training.

        Raises
        ------
        LookupError
            If it was deleted.
        """
        import safetensors.torch

        from regularized_training.networks.imported import ImportedNetwork as Imported

        training = {"training_hash": key["training_hash"]}
        found = (cls & training).proj("network_hash", "classes", "image_size").to_dicts()
        if not found:
            name = (TrainingConfig & training).fetch1("config")["name"]
            raise LookupError(
                f"imported network {name!r} was deleted, and nobody can train it here; import it "
                "again with `neuroteach import network`, then `neuroteach populate --retry`"
            )
        settings = (NetworkConfig & {"network_hash": found[0]["network_hash"]}).fetch1(
            "config", "needs"
        )
        return Imported(
            read_config(NetworkSettings, *settings),
            safetensors.torch.load(read_attached(cls & training, "weights")),
            tuple(found[0]["classes"]),
            found[0]["image_size"],
        )

    @classmethod
    def keys_of(cls, names: Sequence[str]) -> list[dict[str, Any]]:
        """Network and training of each, in the order of the names.

        Raises
        ------
        LookupError
            If the database has none of a name.
        """
        known = cls.proj("imported_network", "network_hash").to_dicts()
        rows = {row["imported_network"]: row for row in known}
        if missing := [name for name in names if name not in rows]:
            raise LookupError(
                f"imported_networks: {', '.join(missing)} not in the database, which has "
                f"{', '.join(sorted(rows)) or 'none'}; add it with `neuroteach import network` "
                "first"
            )
        columns = ("network_hash", "training_hash")
        return [{column: rows[name][column] for column in columns} for name in names]


def _require_same(
    name: str, present: Mapping[str, Any], digest: str, said: Mapping[str, str]
) -> None:
    """Raise a ValueError unless a network that is there is the one that is to be imported."""
    hint = f"choose another --name, or `neuroteach delete imported-network {name}`"
    if present["digest"] != digest:
        raise ValueError(
            f"name: the database has another imported network {name!r}, of other weights, "
            f"settings or classes; {hint}"
        )
    for column, text in said.items():
        if text and text != present[column]:
            raise ValueError(
                f"{column}: of the imported network {name!r} the database has "
                f"{present[column]!r}, found {text!r}; {hint}"
            )
