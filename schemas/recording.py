"""Stimuli and scans."""

from __future__ import annotations

from typing import Any

import datajoint as dj
import numpy as np

from predictive_model.digest import array_digest, fingerprint
from predictive_model.recordings.recording import TIERS, Recording, RecordingError, check_name
from schemas.base import now, schema, transaction


@schema
class StimulusSet(dj.Manual):
    """Distinct images, kept once however many scans showed them."""

    definition = """
        stimulus_set : char(16)     # hash of the images
        ---
        n_images     : int32
        channels     : int16
        height       : int16
        width        : int16
        images       : <npy@main>   # (n, channels, height, width) uint8 or float32
    """

    @classmethod
    def add(cls, images: np.ndarray) -> str:
        """Insert images if they are not there yet, and return their key."""
        key = array_digest(images)[:16]
        n, channels, height, width = images.shape
        row = dict(
            stimulus_set=key,
            n_images=n,
            channels=channels,
            height=height,
            width=width,
            images=np.ascontiguousarray(images),
        )
        if not cls & {"stimulus_set": key}:
            cls.insert1(row, skip_duplicates=True)
        return key


@schema
class StimulusName(dj.Manual):
    """A name for a set of images, by which experiment files refer to it."""

    definition = """
        stimuli : varchar(64)
        ---
        -> StimulusSet
    """

    @classmethod
    def add(cls, name: str, stimulus_set: str) -> bool:
        """Name a set; False if it has this name already.

        Raises
        ------
        ValueError
            If another set has the name.
        """
        check_name(name)
        present = (cls & {"stimuli": name}).to_arrays("stimulus_set")
        if len(present):
            if present[0] == stimulus_set:
                return False
            raise ValueError(f"name: other stimuli are called {name!r}; choose another name")
        cls.insert1({"stimuli": name, "stimulus_set": stimulus_set})
        return True

    @classmethod
    def key_of(cls, name: str) -> str | None:
        """Key of the set that has this name or key; None if there is none."""
        named = (cls & {"stimuli": name}).to_arrays("stimulus_set")
        if len(named):
            return str(named[0])
        return name if StimulusSet & {"stimulus_set": name} else None


@schema
class Scan(dj.Manual):
    """One recording; without trials, if only an encoder of its neurons is known."""

    definition = """
        scan        : varchar(64)
        ---
        -> [nullable] StimulusSet
        species     : varchar(64)
        area        : varchar(64)
        simulated   : bool         # no animal was involved
        n_neurons   : int32
        n_trials    : int32
        n_behaviour : int16        # columns of behaviour, 0 without
        has_pupil   : bool
        behaviour_names : json
        source      : varchar(255) # file's name, or how it was simulated
        digest      : char(64)     # of all arrays
        imported    : datetime     # UTC
        image_index : <npy@main>   # (trial,)
        tier        : <npy@main>   # (trial,) 0 train, 1 validation, 2 test
        neuron_ids  : <npy@main>   # (neuron,)
        cortical_positions : <npy@main>  # (neuron, 2 or 3) micrometres; no rows without
        responses   : <npy@main>   # (trial, neuron) float32
        behaviour   : <npy@main>   # (trial, k) float32; no columns without
        pupil       : <npy@main>   # (trial, 2) float32; no rows without
    """

    @classmethod
    def add(cls, recording: Recording, *, source: str) -> bool:
        """Insert a recording; False if the very same one is there already.

        Raises
        ------
        RecordingError
            If another recording has this name.
        """
        r = recording
        assert r.tier is not None and r.neuron_ids is not None
        digest = array_digest(
            r.images,
            r.image_index,
            r.responses,
            r.behaviour,
            r.pupil,
            r.tier,
            r.neuron_ids,
            r.cortical_positions,
        )
        about = ScanImages.described(r)
        if about is not None:
            groups = (about["group_names"], np.asarray(about["image_group"]).tolist())
            digest = fingerprint(arrays=digest, groups=groups, degrees=r.degrees)
        present = (cls & {"scan": r.name}).to_arrays("digest")
        if len(present):
            if present[0] == digest:
                return False
            raise RecordingError(
                f"name: the database has another scan named {r.name!r}; choose another name, or "
                f"delete it and all that was made of it: (Scan & {{'scan': {r.name!r}}})"
                '.delete(part_integrity="cascade")'
            )
        row = dict(
            scan=r.name,
            species=r.species,
            area=r.area,
            simulated=r.simulated,
            n_neurons=r.n_neurons,
            n_trials=r.n_trials,
            n_behaviour=0 if r.behaviour is None else r.behaviour.shape[1],
            has_pupil=r.pupil is not None,
            behaviour_names=list(r.behaviour_names or ()),
            source=source[:255],
            digest=digest,
            imported=now(),
            image_index=r.image_index,
            tier=np.array([TIERS.index(t) for t in r.tier], np.int8),
            neuron_ids=r.neuron_ids,
            cortical_positions=(
                np.zeros((0, 2), np.float32)
                if r.cortical_positions is None
                else r.cortical_positions
            ),
            responses=r.responses,
            behaviour=np.zeros((r.n_trials, 0), np.float32) if r.behaviour is None else r.behaviour,
            pupil=np.zeros((0, 2), np.float32) if r.pupil is None else r.pupil,
        )
        with transaction(cls.connection):
            row["stimulus_set"] = StimulusSet.add(r.images)
            cls.insert1(row)
            if about is not None:
                ScanImages.insert1(about)
        return True

    @classmethod
    def add_without_trials(
        cls, scan: str, n_neurons: int, *, species: str = "", area: str = ""
    ) -> None:
        """Insert a scan of which no more is known than its neurons, unless it is there already.

        Raises
        ------
        RecordingError
            If the scan that is there has another number of neurons.
        """
        check_name(scan)
        present = (cls & {"scan": scan}).to_arrays("n_neurons")
        if len(present):
            if present[0] != n_neurons:
                raise RecordingError(
                    f"name: the database's scan {scan!r} has {present[0]} neurons, this encoder "
                    f"{n_neurons}; choose another name"
                )
            return
        nothing = np.zeros((0, 2), np.float32)
        cls.insert1(
            dict(
                scan=scan,
                stimulus_set=None,
                species=species,
                area=area,
                simulated=False,
                n_neurons=n_neurons,
                n_trials=0,
                n_behaviour=0,
                has_pupil=False,
                behaviour_names=[],
                source="no trials: known from an encoder",
                digest="",
                imported=now(),
                image_index=np.zeros(0, np.int64),
                tier=np.zeros(0, np.int8),
                neuron_ids=np.arange(n_neurons),
                cortical_positions=nothing,
                responses=np.zeros((0, n_neurons), np.float32),
                behaviour=nothing,
                pupil=nothing,
            )
        )

    @classmethod
    def load(cls, key: dict[str, Any]) -> Recording:
        """The recording of one scan, with all its arrays in memory.

        Raises
        ------
        RecordingError
            If only its neurons are known.
        """
        row = (cls & {"scan": key["scan"]}).fetch1()
        if not row["n_trials"]:
            raise RecordingError(
                f"scan {row['scan']!r} has no trials here, only an encoder of its neurons"
            )
        images = (StimulusSet & {"stimulus_set": row["stimulus_set"]}).fetch1("images")
        groups, degrees = ScanImages.of(row["scan"])
        return Recording(
            name=row["scan"],
            images=np.asarray(images),
            image_index=np.asarray(row["image_index"]),
            responses=np.asarray(row["responses"]),
            behaviour=np.asarray(row["behaviour"]) if row["n_behaviour"] else None,
            pupil=np.asarray(row["pupil"]) if row["has_pupil"] else None,
            tier=np.array(TIERS)[np.asarray(row["tier"])],
            neuron_ids=np.asarray(row["neuron_ids"]),
            cortical_positions=(
                positions if len(positions := np.asarray(row["cortical_positions"])) else None
            ),
            behaviour_names=row["behaviour_names"],
            species=row["species"],
            area=row["area"],
            simulated=bool(row["simulated"]),
            image_groups=groups,
            degrees=degrees,
        )


@schema
class ScanImages(dj.Manual):
    """What a scan's images show, and how large they were shown; no row where neither is known."""

    extends = "Scan"  # goes wherever its scan goes

    definition = """
        -> Scan
        ---
        degrees = null : float64     # of visual angle, that the images are wide
        n_groups       : int32       # 0 where images have no groups
        group_names    : json
        image_group    : <npy@main>  # (n,) which of the names; no rows without groups
    """

    @classmethod
    def described(cls, recording: Recording) -> dict[str, Any] | None:
        """The row of a recording; None where it needs none."""
        if recording.image_groups is None and recording.degrees is None:
            return None
        groups = recording.image_groups
        shown = np.zeros(0, str) if groups is None else groups
        names, place = np.unique(shown, return_inverse=True)
        return dict(
            scan=recording.name,
            degrees=recording.degrees,
            n_groups=len(names),
            group_names=names.tolist(),
            image_group=place.astype(np.int64),
        )

    @classmethod
    def of(cls, scan: str) -> tuple[np.ndarray | None, float | None]:
        """Groups of a scan's images, (n,) texts, and their width in degrees; None if not known."""
        rows = (cls & {"scan": scan}).to_dicts()
        if not rows:
            return None, None
        (row,) = rows
        if not row["n_groups"]:
            return None, row["degrees"]
        return np.array(row["group_names"])[np.asarray(row["image_group"])], row["degrees"]
