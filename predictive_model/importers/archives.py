"""Files in folders, zip and tar archives: by which names, where links lead, and what is unreadable.

Nothing is ever unpacked. Names have ``/`` between folders; those of folders end with it. A symbolic
link is followed wherever it leads, in an archive to what the archive holds, and never round in
circles. One that leads nowhere is refused where the file is wanted, so that no file is missed.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import lzma
import os
import posixpath
import stat
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import IO, cast

from predictive_model.file_kinds import why_unreadable

# What file managers leave in folders and archives.
LITTER = (".DS_Store", "Thumbs.db", "desktop.ini")
LITTER_FOLDER = "__MACOSX"
# Of lists and texts that often lie beside pictures, and of archives within archives.
LISTS = (
    ".csv",
    ".htm",
    ".html",
    ".json",
    ".log",
    ".md",
    ".toml",
    ".tsv",
    ".txt",
    ".xml",
    ".yaml",
    ".yml",
)
ARCHIVE_ENDINGS = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar", ".zst")
COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
MOST_LINKS = 40  # in a chain of them, as Linux has it
UTF8_FLAG = 0x800

Wanted = Callable[[str], bool]


class UnreadableError(ValueError):
    """A file, folder or archive that cannot be read: says which, why and what to do."""


class ReadingNote(UserWarning):
    """How files were read, or which were passed over, where a reader may not expect it."""


def note(text: str) -> None:
    """Warn of how files were read."""
    warnings.warn(text, ReadingNote, stacklevel=4)


def is_litter(name: str) -> bool:
    """Whether a file was left by a file manager; ``._name`` is what macOS adds to ``name``."""
    parts = name.rstrip("/").split("/")
    return LITTER_FOLDER in parts or parts[-1] in LITTER or parts[-1].startswith("._")


def read_members(path: Path, wanted: Wanted) -> Iterator[tuple[str, bytes]]:
    """Name and content of the wanted files in a folder, zip or tar archive, in any order.

    Parameters
    ----------
    path : Path
    wanted : callable
        Called once with each name, also those of folders, which end with ``/``. If an archive
        holds a name twice, the content that comes last is the one that counts.

    Raises
    ------
    FileNotFoundError
        If there is nothing at ``path``.
    UnreadableError
        If it is no archive, a damaged one, or a wanted file cannot be read.
    """
    if not path.exists():
        leads_to = f", but a link to {os.readlink(path)}" if path.is_symlink() else ""
        raise FileNotFoundError(f"{path}: no such file or folder{leads_to}")
    if path.is_dir():
        for name, file in folder_members(path):
            if wanted(name) or (_may_be_folder(name) and not file.exists()):
                yield name, read_file(file)
        return
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                for name, info in zip_members(archive, path).items():
                    if wanted(name) or (_may_be_folder(name) and info is None):
                        yield name, read_zip_member(archive, info, f"{path}: {name}")
        else:
            yield from _tar_members(path, wanted)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, lzma.LZMAError, zlib.error) as error:
        raise _incomplete(path, error) from error
    except OSError as error:
        if error.errno is not None:  # the disk's, not one of gzip or bzip2
            raise
        raise _incomplete(path, error) from error


def folder_members(folder: Path) -> Iterator[tuple[str, Path]]:
    """All files and folders below a folder, links to them followed; broken links are among them.

    Raises
    ------
    UnreadableError
        If a folder may not be read.
    """
    yield from _below(folder, "", (_place(folder),))


def read_file(file: Path) -> bytes:
    """Content of a file.

    Raises
    ------
    UnreadableError
        If it cannot be read, or is a link to nowhere.
    """
    try:
        return file.read_bytes()
    except OSError as error:
        raise UnreadableError(f"{file}: {_why_not_opened(file, error)}") from error


def file_size(file: Path) -> int:
    """Of a file, in bytes; UnreadableError as of :func:`read_file`."""
    try:
        return file.stat().st_size
    except OSError as error:
        raise UnreadableError(f"{file}: {_why_not_opened(file, error)}") from error


def zip_members(archive: zipfile.ZipFile, path: Path) -> dict[str, zipfile.ZipInfo | None]:
    """Members of a zip archive by name, links followed; None for links that lead out of it."""
    files: dict[str, zipfile.ZipInfo] = {}
    links: dict[str, str] = {}
    for info in archive.infolist():
        name = member_name(info)
        if stat.S_ISLNK(info.external_attr >> 16):
            target = read_zip_member(archive, info, f"{path}: {name}").decode("utf-8", "replace")
            links[name] = _target(name, target)
        else:
            files[name] = info
    unsure = [name for name in files if not _is_utf8(files[name], name)]
    if unsure:
        note(
            f"{path}: {len(unsure)} names are not in UTF-8 and were read in code page 437, as the "
            f"format says, such as {unsure[0]}; if that is wrong, pack the archive again"
        )
    followed = follow_links(links, files)
    return {**files, **{name: t and files[t] for name, t in followed.items()}}  # type: ignore[misc]


def member_name(info: zipfile.ZipInfo) -> str:
    r"""Name of a zip archive's member; ``\`` separates folders too, as some Windows programs do.

    Names that are not marked as UTF-8, but are UTF-8, as macOS writes them, are taken for it;
    others are in code page 437, as the format says.
    """
    name = info.filename
    if not info.flag_bits & UTF8_FLAG and not name.isascii():
        with contextlib.suppress(UnicodeError):
            name = name.encode("cp437").decode("utf-8")
    return name.replace("\\", "/")


def _is_utf8(info: zipfile.ZipInfo, name: str) -> bool:
    return (
        bool(info.flag_bits & UTF8_FLAG)
        or name.isascii()
        or name != info.filename.replace("\\", "/")
    )


def read_zip_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo | None, label: str) -> bytes:
    """Content of a zip archive's member, checked to its end; ``label`` names it in errors."""
    with open_zip_member(archive, info, label) as file:
        return file.read()


def open_zip_member(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo | None, label: str
) -> IO[bytes]:
    """Open a zip archive's member.

    Raises
    ------
    UnreadableError
        If it is encrypted, compressed in a way that Python does not know, or a link out of the
        archive.
    """
    if info is None:
        raise UnreadableError(f"{label}: {_LEADS_OUT}")
    check_zip_member(info, label)
    return archive.open(info)


def check_zip_member(info: zipfile.ZipInfo, label: str) -> None:
    """Refuse a member that is encrypted or compressed in a way that Python does not know."""
    if info.flag_bits & 0x1:
        raise UnreadableError(
            f"{label}: is encrypted; unpack the archive with its password, and name the folder"
        )
    if info.compress_type not in COMPRESSIONS:
        number = info.compress_type
        known = {9: "Deflate64, as Windows does with large files", 93: "Zstandard", 99: "AES"}
        raise UnreadableError(
            f"{label}: is compressed by {known.get(number, f'method {number}')}, which Python "
            "cannot read; unpack the archive and name the folder, or pack it again with `zip`"
        )


def follow_links(links: Mapping[str, str], files: Collection[str]) -> dict[str, str | None]:
    """Names that the links of an archive give to its files; None where a link leads out of it.

    Parameters
    ----------
    links : mapping
        Name that each link leads to.
    files : collection of str
        Names of all other members.
    """
    if not links:
        return {}
    children: dict[str, set[str]] = {"": set()}
    for name in (*files, *links):
        parts = name.rstrip("/").split("/")
        for i in range(len(parts)):
            children.setdefault("/".join(parts[:i]), set()).add("/".join(parts[: i + 1]))
        if name.endswith("/"):
            children.setdefault(name.rstrip("/"), set())
    found: dict[str, str | None] = {}

    def walk(folder: str, shown: str, above: tuple[str, ...]) -> None:
        for child in sorted(children[folder]):
            name = posixpath.join(shown, posixpath.basename(child))
            target = _resolved(child, links)
            if target in children:
                if target not in above:
                    walk(target, name, (*above, target))
            elif name not in files:
                found[name] = target if target in files else None

    walk("", "", ("",))
    return found


def _resolved(name: str, links: Mapping[str, str], left: int = MOST_LINKS) -> str | None:
    """Where a name leads to that may itself be a link, or lie below one."""
    done = ""
    for part in name.split("/"):
        done = posixpath.join(done, part)
        if done in links:
            following = _resolved(links[done], links, left - 1) if left else None
            if following is None:
                return None
            done = following
    return "" if done == "." else done


def _target(link: str, target: str) -> str:
    """What the target of a symbolic link is called in the archive."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(link), target))


_LEADS_OUT = (
    "is a link to a file that the archive does not hold; pack it with `tar --dereference`, or "
    "`zip` without -y, or remove the link"
)


def _may_be_folder(link: str) -> bool:
    """Whether a link, if it leads nowhere, may have led to a folder of wanted files."""
    return not (link.endswith("/") or PurePosixPath(link).suffix or is_litter(link))


def _tar_members(path: Path, wanted: Wanted) -> Iterator[tuple[str, bytes]]:
    """As :func:`read_members`; where there are links to files, these are read a second time."""
    names: set[str] = set()
    links: dict[str, str] = {}
    for info, stream in _tar_entries(path):
        name = posixpath.normpath(info.name)
        if info.isdir():
            wanted(f"{name}/")
        elif info.issym():
            links[name] = _target(name, info.linkname)
        elif info.islnk():
            links[name] = posixpath.normpath(info.linkname)
        elif info.isfile():
            names.add(name)
            if wanted(name):
                yield name, cast("IO[bytes]", stream.extractfile(info)).read()
    others: dict[str, list[str]] = {}  # names of a file beside its own
    for name, target in follow_links(links, names).items():
        if wanted(name) or (_may_be_folder(name) and target is None):
            if target is None:
                raise UnreadableError(f"{path}: {name}: {_LEADS_OUT}")
            others.setdefault(target, []).append(name)
    for info, stream in _tar_entries(path) if others else ():
        if info.isfile() and (name := posixpath.normpath(info.name)) in others:
            content = cast("IO[bytes]", stream.extractfile(info)).read()
            yield from ((other, content) for other in others[name])


def _tar_entries(path: Path) -> Iterator[tuple[tarfile.TarInfo, tarfile.TarFile]]:
    """One pass, as seeking back in compressed data means decompressing it again.

    The file is not left to tarfile to decompress: that would take a truncated one for a shorter
    one, as it does with one that is not compressed and ends between two members.
    """
    with (
        _open_decompressed(path) as decompressed,
        tarfile.open(fileobj=decompressed, mode="r|") as stream,
    ):
        for info in stream:
            yield info, stream
    with path.open("rb") as file:
        if file.read(512)[257:262] == b"ustar":
            file.seek(-512, os.SEEK_END)
            if file.read().strip(b"\0"):
                raise tarfile.ReadError("it lacks the zeros that end a tar file")


def _open_decompressed(path: Path) -> IO[bytes]:
    with path.open("rb") as file:
        start = file.read(6)
    if start.startswith(b"\xfd7zXZ"):
        return lzma.open(path)
    if start.startswith(b"\x1f\x8b"):
        return cast("IO[bytes]", gzip.open(path))
    if start.startswith(b"BZh"):
        return bz2.open(path)
    return path.open("rb")


def _incomplete(path: Path, error: Exception) -> UnreadableError:
    why = why_unreadable(
        path,
        error,
        "copy or download it again",
        expected="(zip|tar) archive|compressed by (gzip|xz|bzip2)",
    )
    return UnreadableError(f"{path}: not a complete folder, tar or zip file: {why}")


def _below(folder: Path, prefix: str, above: tuple[object, ...]) -> Iterator[tuple[str, Path]]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise UnreadableError(f"{folder}: {_why_not_opened(folder, error)}") from error
    for entry in entries:
        name, path = prefix + entry.name, Path(entry.path)
        if entry.is_dir(follow_symlinks=False) or (entry.is_symlink() and path.is_dir()):
            place = _place(path)
            if place not in above:
                yield f"{name}/", path
                yield from _below(path, f"{name}/", (*above, place))
        elif entry.is_symlink() or entry.is_file():  # no pipe or device
            yield name, path


def _place(folder: Path) -> tuple[int, int]:
    """The same for all names of a folder."""
    found = folder.stat()
    return found.st_dev, found.st_ino


def _why_not_opened(file: Path, error: OSError) -> str:
    if not file.is_symlink() or os.path.exists(file):
        return f"cannot be read ({error.strerror}); see that it is readable, or take it out of here"
    target = os.readlink(file)
    if "annex/objects" in target.replace("\\", "/"):
        return "its content is not here; fetch it with `git annex get` (`datalad get`)"
    return f"is a link to {target}, where nothing is; restore that, or remove the link"
