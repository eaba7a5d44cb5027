"""An NWB file opened for reading, and what is wrong with one that cannot be read."""

from __future__ import annotations

import contextlib
import importlib
import warnings
from collections.abc import Iterator
from pathlib import Path

import h5py
from pynwb import NWBHDF5IO, NWBFile

from predictive_model.recordings.recording import RecordingError

# What HDF5 says of a file that cannot be opened, and what to do about it.
REMEDIES = {
    "unable to lock file": (
        "another program writes it, or its disk knows no locks: close it there, or set "
        "HDF5_USE_FILE_LOCKING=FALSE"
    ),
    "truncated file": "it was not copied to its end: copy or download it again",
    "signature not found": "it is no HDF5 file at all: see what it holds",
    "ermission denied": "ask its owner for the permission to read it",
    "namespace": "install the extension that it names, as in `pip install ndx-events`",
    "not supported": "convert it to NWB 2",
}


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
    with contextlib.suppress(ImportError):
        importlib.import_module("hdf5plugin")  # the filters of HDF5's registry, where installed
    with contextlib.ExitStack() as stack:
        with warnings.catch_warnings():
            # They are about the versions of cached schemas, which nobody here can mend.
            warnings.simplefilter("ignore")
            try:
                io = stack.enter_context(NWBHDF5IO(str(path), "r"))
                file = io.read()
            except Exception as error:  # HDF5, hdmf and pynwb raise whatever they met
                said = " ".join(str(error).split())[:200]
                known = (remedy for part, remedy in REMEDIES.items() if part in said)
                raise RecordingError(
                    f"{path}: cannot be read as an NWB file ({said}); "
                    + next(known, "check it with `pynwb-validate`")
                ) from error
        try:
            yield file
        except OSError as error:
            raise RecordingError(f"{path}: {_why_unreadable(path, error)}") from error


def broken_links(path: Path) -> list[str]:
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
    return notes


def _why_unreadable(path: Path, error: OSError) -> str:
    """Missing filters, missing files, or else damage."""
    filters: set[str] = set()
    outside: set[str] = set()

    def look(name: str, item: object) -> None:
        if not isinstance(item, h5py.Dataset):
            return
        outside.update(raw for raw, *_ in item.external or () if not _is_there(path, raw))
        settings = item.id.get_create_plist()
        for number in range(settings.get_nfilters()):
            code, _, _, called = settings.get_filter(number)
            if not h5py.h5z.filter_avail(code):
                filters.add(f"{code}{f' ({called.decode()})' if called else ''}")

    with contextlib.suppress(OSError), h5py.File(path, "r") as file:
        file.visititems(look)
    if filters:
        return (
            f"is compressed by HDF5 filter {', '.join(sorted(filters))}, which is not installed; "
            "`pip install hdf5plugin` brings most filters and is used once it is there"
        )
    if outside:
        return (
            f"keeps data in other files, of which {sorted(outside)[0]!r} is not there; put it "
            "beside the NWB file, where the file names it"
        )
    return f"is damaged ({error}); copy or download it again"


def _is_there(path: Path, raw: str) -> bool:
    return (path.parent / raw).is_file() or Path(raw).is_file()
