"""Why an HDF5 file cannot be read: a filter or another file that it needs, a lock, or damage."""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Iterator
from pathlib import Path

import h5py

from predictive_model.file_kinds import why_unreadable

COPY_AGAIN = "copy or download it again"


def load_filters() -> None:
    """Make the compression filters of ``hdf5plugin`` known to HDF5, where it is installed."""
    with contextlib.suppress(ImportError):
        importlib.import_module("hdf5plugin")


def why_hdf5_fails(path: Path, error: Exception, remedy: str = COPY_AGAIN) -> str:
    """Why reading a file failed, and what to do; ``remedy`` is for what is not known here."""
    said = " ".join(str(error).split())[:200]
    if "unable to lock file" in said:
        return (
            f"another program has it open to write, or its disk has no locks ({said}); close it "
            "there, or set HDF5_USE_FILE_LOCKING=FALSE if nobody writes to it"
        )
    if "consistency flags" in said:
        return (
            "what wrote it did not close it; close that, or if it has ended, `h5clear -s` the file"
        )
    if "truncated file" in said:
        return f"it is cut short ({said}); {COPY_AGAIN}"
    if isinstance(error, PermissionError):
        return f"it may not be read ({error.strerror}); ask for the right to"
    files, filters = _lacking(path)
    if files:
        return (
            f"it keeps data in other files, which are not found: {', '.join(files)}; put them into "
            f"{path.parent} and run there, or set HDF5_EXTFILE_PREFIX to their folder"
        )
    if filters:
        return (
            f"it is compressed by {', '.join(filters)}, which HDF5 does not know here; `pip "
            "install hdf5plugin`, or write it again with gzip (`h5repack -f GZIP=4`)"
        )
    return why_unreadable(path, said, remedy, expected="HDF5")


def _lacking(path: Path) -> tuple[list[str], list[str]]:
    """Other files and filters that a file needs and that are not there."""
    folder = str(path.parent.absolute())
    prefix = os.environ.get("HDF5_EXTFILE_PREFIX", "").replace("${ORIGIN}", folder)
    files: dict[str, None] = {}
    filters: dict[str, None] = {}
    # Damage may lie on the way; what was found before it counts.
    with contextlib.suppress(OSError, RuntimeError, KeyError, ValueError), h5py.File(path) as file:
        for link in _links(file):
            if isinstance(link, h5py.ExternalLink):
                if not (path.parent / link.filename).exists():
                    files[link.filename] = None
                continue
            for name, _, _ in link.external or ():
                if not Path(prefix, name).exists():
                    files[name] = None
            plist = link.id.get_create_plist()
            for i in range(plist.get_nfilters()):
                code, _, _, name = plist.get_filter(i)
                if not h5py.h5z.filter_avail(code):
                    filters[name.decode(errors="replace").split(";")[0] or f"filter {code}"] = None
    return list(files), list(filters)


def _links(group: h5py.Group) -> Iterator[h5py.Dataset | h5py.ExternalLink]:
    """Datasets and links to other files, anywhere below a group that has no other names."""
    for name in group:
        link = group.get(name, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            yield link
        elif isinstance(link, h5py.HardLink):
            item = group[name]
            if isinstance(item, h5py.Group):
                yield from _links(item)
            elif isinstance(item, h5py.Dataset):
                yield item
