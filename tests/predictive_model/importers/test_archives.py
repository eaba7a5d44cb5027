"""Files are found under all their names, in folders and archives; none is missed in silence."""

from __future__ import annotations

import errno
import io
import os
import stat
import struct
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from predictive_model.importers.archives import ReadingNote, UnreadableError, read_members
from predictive_model.importers.tree import open_tree
from predictive_model.recordings.recording import RecordingError


def found(path: Path) -> dict[str, bytes]:
    return dict(read_members(path, lambda name: name.endswith(".png")))


def tarred(path: Path, files: dict[str, bytes], links: dict[str, tuple[bytes, str]]) -> Path:
    """An archive in which links come before what they lead to."""
    with tarfile.open(path, "w:gz") as archive:
        for name, (kind, target) in links.items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            archive.addfile(info)
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def zipped(path: Path, files: dict[str, bytes], links: dict[str, str] | None = None) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo("x")
            info.filename = name
            archive.writestr(info, content)
        for name, target in (links or {}).items():
            info = zipfile.ZipInfo(name)
            info.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(info, target)
    return path


# -- links -------------------------------------------------------------------------------------


def test_links_are_followed_out_of_the_folder_and_never_in_circles(tmp_path: Path) -> None:
    shared, folder = tmp_path / "shared", tmp_path / "folder"
    (shared / "fox").mkdir(parents=True)
    (folder / "cat").mkdir(parents=True)
    (shared / "fox" / "1.png").write_bytes(b"fox")
    (folder / "cat" / "1.png").write_bytes(b"cat")
    (folder / "fox").symlink_to(shared / "fox")
    (folder / "cat" / "2.png").symlink_to("1.png")
    (folder / "cat" / "up").symlink_to(folder)
    (shared / "fox" / "back").symlink_to(folder / "cat")
    expected = {"cat/1.png": b"cat", "cat/2.png": b"cat", "fox/1.png": b"fox"}
    expected |= {"fox/back/1.png": b"cat", "fox/back/2.png": b"cat"}
    assert found(folder) == expected


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("../nowhere.png", "is a link to ../nowhere.png, where nothing is; restore"),
        (".git/annex/objects/a/b/SHA256E-s1--c.png/SHA256E-s1--c.png", "git annex get"),
    ],
)
@pytest.mark.parametrize("name", ["1.png", "class"])  # without an ending it may be a folder's
def test_a_link_that_leads_nowhere_is_named(
    tmp_path: Path, target: str, said: str, name: str
) -> None:
    (tmp_path / name).symlink_to(target)
    with pytest.raises(UnreadableError, match=f"{name}: .*{said}"):
        found(tmp_path)
    (tmp_path / name).rename(tmp_path / "notes.txt")  # which nobody asked for
    assert found(tmp_path) == {}


def test_links_in_a_tar_file_are_followed_within_it(tmp_path: Path) -> None:
    files = {"shared/fox/1.png": b"fox", "set/cat/1.png": b"cat"}
    links = {
        "set/fox": (tarfile.SYMTYPE, "../shared/fox"),
        "set/hard.png": (tarfile.LNKTYPE, "set/cat/1.png"),
        "set/cat/2.png": (tarfile.SYMTYPE, "./1.png"),
        "set/cat/3.png": (tarfile.SYMTYPE, "2.png"),
        "set/cat/up": (tarfile.SYMTYPE, ".."),
        "set/through.png": (tarfile.SYMTYPE, "fox/1.png"),
    }
    assert found(tarred(tmp_path / "a.tar.gz", files, links)) == files | {
        "set/fox/1.png": b"fox",
        "set/hard.png": b"cat",
        "set/cat/2.png": b"cat",
        "set/cat/3.png": b"cat",
        "set/through.png": b"fox",
    }


def test_links_in_a_zip_file_are_followed_within_it(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"a/1.png": b"a"}, {"b": "a", "a/2.png": "1.png"})
    assert found(path) == {"a/1.png": b"a", "a/2.png": b"a", "b/1.png": b"a", "b/2.png": b"a"}


@pytest.mark.parametrize("target", ["/mnt/shared/fox", "../../fox", "loop"])
def test_a_link_out_of_an_archive_is_named(tmp_path: Path, target: str) -> None:
    links = {"loop": (tarfile.SYMTYPE, target)}
    with pytest.raises(UnreadableError, match="loop: is a link to a file that the archive does"):
        found(tarred(tmp_path / "a.tar.gz", {"a.png": b"a"}, links))
    with pytest.raises(UnreadableError, match="loop: is a link to a file that the archive does"):
        found(zipped(tmp_path / "a.zip", {"a.png": b"a"}, {"loop": target}))


# -- names -------------------------------------------------------------------------------------


def test_folders_in_windows_names_are_folders(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"set\\": b"", "set\\cat\\1.png": b"cat"})
    assert found(path) == {"set/cat/1.png": b"cat"}


def test_names_of_macos_are_utf8_without_saying_so(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"cafXX.png": b"a"})
    path.write_bytes(path.read_bytes().replace(b"XX", "é".encode()))
    assert found(path) == {"café.png": b"a"}
    path = zipped(tmp_path / "b.zip", {"cafX.png": b"a"})
    path.write_bytes(path.read_bytes().replace(b"X", "é".encode("cp437")))
    with pytest.warns(ReadingNote, match="1 names are not in UTF-8 .* such as café.png"):
        assert found(path) == {"café.png": b"a"}


def test_of_a_name_packed_twice_the_last_counts(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"1.png": b"old"})
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("1.png", "new")
    assert found(path) == {"1.png": b"new"}


# -- what cannot be read ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offset", "value", "said"),
    [
        (8, 9, "Deflate64.*unpack the archive"),
        (8, 99, "AES.*unpack the archive"),
        (6, 1, "is encrypted; unpack the archive with its password"),
    ],
)
def test_members_that_python_cannot_read_are_told_apart_from_damage(
    tmp_path: Path, offset: int, value: int, said: str
) -> None:
    path = zipped(tmp_path / "a.zip", {"data/images/0.png": b"a"})
    content = bytearray(path.read_bytes())
    struct.pack_into("<H", content, offset, value)
    struct.pack_into("<H", content, content.index(b"PK\x01\x02") + offset + 2, value)
    path.write_bytes(content)
    with pytest.raises(UnreadableError, match=f"images/0.png: .*{said}"):
        found(path)
    with open_tree(path) as tree, pytest.raises(RecordingError, match=said):
        tree.array("data/images/0.png")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"<html><body>Please sign in", "it is a web page .HTML."),
        (b"7z\xbc\xaf\x27\x1c....", "it is a 7-Zip archive; unpack it"),
        (b"\x89PNG\r\n\x1a\n....", "it is one picture; name the folder"),
        (b"", "it is empty"),
    ],
)
def test_what_is_no_archive_is_told_by_what_it_is(
    tmp_path: Path, content: bytes, said: str
) -> None:
    path = tmp_path / "images.tar"
    path.write_bytes(content)
    with pytest.raises(UnreadableError, match=f"not a complete folder, tar or zip file: {said}"):
        found(path)


def test_a_tar_file_cut_between_two_members_is_not_a_shorter_one(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as archive:
        for name in ("1.png", "2.png"):
            info = tarfile.TarInfo(name)
            info.size = 9
            archive.addfile(info, io.BytesIO(b"x" * 9))
    assert len(found(path)) == 2
    path.write_bytes(path.read_bytes()[:1024])
    with pytest.raises(UnreadableError, match="lacks the zeros that end a tar file"):
        found(path)


def test_a_folder_that_may_not_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cat").mkdir()
    scandir = os.scandir

    def as_no_root(folder: Path) -> Any:
        if folder.name == "cat":
            raise PermissionError(errno.EACCES, "Permission denied", str(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", as_no_root)
    with pytest.raises(UnreadableError, match="cat: cannot be read .Permission denied"):
        found(tmp_path)


# -- trees -----------------------------------------------------------------------------------------


def test_a_tree_has_what_its_links_lead_to(tmp_path: Path) -> None:
    np.save(tmp_path / "0.npy", np.arange(3))
    tree = tmp_path / "tree" / "data"
    tree.mkdir(parents=True)
    (tree / "images").symlink_to(tmp_path)
    with open_tree(tree.parent) as opened:
        np.testing.assert_array_equal(opened.array("data/images/0.npy"), np.arange(3))
    (tmp_path / "1.npy").symlink_to("gone.npy")
    with pytest.raises(RecordingError, match="1.npy: is a link to gone.npy, where nothing is"):
        open_tree(tree.parent).__enter__()


def test_a_tree_packed_on_windows_or_with_links_is_read(tmp_path: Path) -> None:
    array = io.BytesIO()
    np.save(array, np.arange(3))
    packed = zipped(
        tmp_path / "a.zip",
        {"scan\\data\\images\\0.npy": array.getvalue()},
        {"scan/data/images/1.npy": "0.npy"},
    )
    with open_tree(packed) as tree:
        for name in ("data/images/0.npy", "data/images/1.npy"):
            np.testing.assert_array_equal(tree.array(name), np.arange(3))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"<!DOCTYPE html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1", "lfs pull"),
    ],
)
def test_an_array_that_is_something_else_is_told_by_what_it_is(
    tmp_path: Path, content: bytes, said: str
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "0.npy").write_bytes(content)
    with open_tree(tmp_path) as tree, pytest.raises(RecordingError, match=f"0.npy: .*{said}"):
        tree.array("data/0.npy")
