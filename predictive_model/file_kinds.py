"""What a file really is, by its first bytes, where it cannot be read as what it should be."""

from __future__ import annotations

import re
from pathlib import Path

N_BYTES = 1024  # of a file are enough to tell
HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"

DOWNLOAD = "download it again in a browser, signed in where the site asks for it"
UNPACK = "unpack it, and name the folder"
# What files begin with, what they are then, and what to do where they were not expected.
SIGNATURES: tuple[tuple[bytes, str, str], ...] = (
    (
        rb"version https://git-lfs\.github\.com/spec/",
        "a pointer that Git LFS left in place of the file",
        "fetch the file itself with `git lfs pull`",
    ),
    (
        rb"(?s)(\.\./)*(\.git|/annex|git-annex)[\\/].{0,400}\b(SHA|MD5|WORM|URL|BLAKE|XDLRA|GIT)",
        "a pointer that git-annex left in place of the file",
        "fetch the file itself with `git annex get` (`datalad get`)",
    ),
    (
        rb"(?i)\s*(<!--.{0,400}-->\s*)?<(!doctype\s+html|html|head|body)\b",
        "a web page (HTML), as sites send where a file needs a login or is elsewhere",
        DOWNLOAD,
    ),
    (rb"\s*(<\?xml[^>]*>\s*)?<Error>", "a server's message of an error, no data", DOWNLOAD),
    (rb"PK(\x03\x04|\x05\x06|\x07\x08)", "a zip archive", UNPACK),
    (rb"Rar!\x1a\x07", "a RAR archive", UNPACK),
    (rb"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", UNPACK),
    (rb"\x28\xb5\x2f\xfd", "compressed by Zstandard", UNPACK),
    (rb"\x04\x22\x4d\x18|LZIP|\x1f\x9d", "compressed by LZ4, lzip or compress", UNPACK),
    (rb"\x1f\x8b", "compressed by gzip", UNPACK),
    (rb"\xfd7zXZ\x00", "compressed by xz", UNPACK),
    (rb"BZh[1-9]", "compressed by bzip2", UNPACK),
    (rb"(?s).{257}ustar", "a tar archive", UNPACK),
    (
        re.escape(HDF5_SIGNATURE),
        "an HDF5 file",
        "save what is in it as the kind of file expected here",
    ),
    (
        rb"MATLAB [57]\.",
        "a MATLAB file",
        "read it with scipy.io.loadmat (h5py from version 7.3 on) and save its arrays with "
        "numpy.savez_compressed",
    ),
    (rb"\x93NUMPY", "a NumPy array (.npy)", "name it so, or give it where arrays are expected"),
    (rb"%PDF-", "a PDF document", "replace it by the file that was meant"),
    (
        rb"\x89PNG\r|\xff\xd8\xff|GIF8[79]a|BM.{4}\0\0\0\0|II\*\0|MM\0\*|RIFF.{4}WEBP",
        "one picture",
        "name the folder it lies in",
    ),
    (
        rb".{4}ftyp(heic|heix|mif1|msf1)",
        "a HEIC photograph, which cannot be read here",
        "save it as JPEG or PNG",
    ),
)


def first_bytes(source: Path | bytes) -> bytes:
    """As much of a file as tells what it is."""
    if isinstance(source, bytes):
        return source[:N_BYTES]
    with source.open("rb") as file:
        return file.read(N_BYTES)


def kind_of(source: Path | bytes) -> tuple[str, str] | None:
    """What a file is by its first bytes, and what to do about it; None where they do not tell.

    Examples
    --------
    >>> kind_of(b"<!DOCTYPE html><title>Sign in</title>")[0]
    'a web page (HTML), as sites send where a file needs a login or is elsewhere'
    """
    start = first_bytes(source)
    if not start:
        return (
            "empty (0 bytes)",
            "copy or download it again, and see that the disk is not full",
        )
    for signature, what, remedy in SIGNATURES:
        if re.match(signature, start):
            return what, remedy
    if len(start) > 16 and not start.strip(b"\0"):
        return (
            "nothing but zeros at its start, as a copy that was cut short leaves",
            "copy or download it again",
        )
    return None


def why_unreadable(
    source: Path | bytes, error: object, remedy: str, *, expected: str = "a^"
) -> str:
    """Why a file cannot be read: what it is instead, or else the error that came of reading it.

    Parameters
    ----------
    source : Path or bytes
        The file, or its content, or the beginning of it.
    error : object
        What was raised.
    remedy : str
        Where the first bytes do not tell what it is.
    expected : str
        Regular expression of what in :data:`SIGNATURES` the file should be; nothing by default.
    """
    kind = kind_of(source)
    if kind is not None and not re.search(expected, kind[0]):
        return f"it is {kind[0]}; {kind[1]}"
    line = first_bytes(source)[:40].split(b"\n")[0].strip()
    if kind is None and line.isascii() and (text := line.decode("ascii")).isprintable() and text:
        return f"{error} (it is text, which begins with {text!r}); {remedy}"
    return f"{error}; {remedy}"
