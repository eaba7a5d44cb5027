"""An NWB file opened for reading, and what it links to in vain."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path

import h5py
from pynwb import NWBHDF5IO, NWBFile

from predictive_model.importers.hdf5 import COPY_AGAIN, load_filters, why_hdf5_fails
from predictive_model.recordings.recording import RecordingError


@contextlib.contextmanager
def opened(path: Path) -> Iterator[NWBFile]:
    """An NWB file whose data are read only where they are sliced.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    RecordingError
        If it is no NWB file, or data that are read from it in the context cannot be.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected an NWB file")
    load_filters()
    with contextlib.ExitStack() as stack:
        with warnings.catch_warnings():
            # They are about the versions of cached schemas, which nobody here can mend, and about
            # broken links, which the report names.
            warnings.simplefilter("ignore")
            try:
                io = stack.enter_context(NWBHDF5IO(str(path), "r"))
                file = io.read()
            except Exception as error:  # HDF5, hdmf and pynwb raise whatever they met
                why = why_hdf5_fails(path, error, "check it with `pynwb-validate`")
                raise RecordingError(f"{path}: cannot be read as an NWB file: {why}") from error
        try:
            yield file
        except OSError as error:
            why = why_hdf5_fails(path, error, f"it is damaged: {COPY_AGAIN}")
            raise RecordingError(f"{path}: cannot be read: {why}") from error


def broken_links(path: Path) -> tuple[str, ...]:
    """What a file links to and is not there, each as a sentence."""
    notes: list[str] = []

    def look(name: str, link: object) -> None:
        if isinstance(link, h5py.ExternalLink | h5py.SoftLink) and file.get(name) is None:
            outside = isinstance(link, h5py.ExternalLink)
            place = f"{link.path} of {link.filename!r}" if outside else link.path
            remedy = "; put that file where the link expects it" if outside else ""
            notes.append(f"/{name} is a link to {place}, which is not there{remedy}")

    with h5py.File(path, "r") as file:
        file.visititems_links(look)
    return tuple(notes)
