"""An archive holds what was put into it, and a file that is anything else is refused."""

from __future__ import annotations

import hashlib
import json
import stat
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from datajoint.hash_registry import compute_hash
from upath import UPath

from pipeline.transfer import archive as archives
from pipeline.transfer.archive import Archive, ArchiveSource
from pipeline.transfer.manifest import ArchiveError, Holds
from pipeline.transfer.objects import ObjectStore
from pipeline.transfer.rows import Row, RowError, check_row
from pipeline.transfer.writing import write_archive
from schemas.model import Column, Kind, Table
from schemas.objects import StoreError

CONTENT = b"\x93NUMPY" + bytes(range(256)) * 3
PATH = "_schema/lab/scan/scan=a/responses_x1.npy"
SCAN = Table(
    "Scan",
    '"lab"."scan"',
    (
        Column("scan", Kind.text, in_key=True),
        Column("weight", Kind.number, in_key=False),
        Column("responses", Kind.array, in_key=False, stored=True),
    ),
    (),
)


NAMED = b"weights.safetensors\0" + CONTENT
NAMED_PATH = "_hash/lab/abcdefghijklmnopqrstuvwxyz"
NETWORK = Table(
    "TrainedNetwork",
    '"lab"."__trained_network"',
    (
        Column("network", Kind.whole, in_key=True),
        Column("weights", Kind.file, in_key=False, stored=True),
    ),
    (),
    computed=True,
)


class OneNetwork:
    """A database of one table, whose row names an attached file."""

    schema = "lab"
    tables = (NETWORK,)

    def __init__(self, folder: Path, content: bytes) -> None:
        self.content = content
        file = folder / NAMED_PATH
        file.parent.mkdir(parents=True)
        file.write_bytes(content)
        self.store = ObjectStore(UPath(folder))

    def rows(self, table: Table) -> Iterator[Row]:
        stored = {"path": NAMED_PATH, "size": len(self.content), "hash": compute_hash(self.content)}
        yield {"network": 1, "weights": stored}


class OneScan:
    """A database of one table, whose rows name what is in a folder."""

    schema = "lab"
    tables = (SCAN,)

    def __init__(self, folder: Path, **changes: Any) -> None:
        file = folder / PATH
        file.parent.mkdir(parents=True)
        file.write_bytes(CONTENT)
        self.store = ObjectStore(UPath(folder))
        self.changes = changes

    def rows(self, table: Table) -> Iterator[Row]:
        sha256 = hashlib.sha256(CONTENT).hexdigest()
        stored = {"path": PATH, "store": "main", "size": len(CONTENT), "sha256": sha256}
        yield {"scan": "a", "weight": 0.1 + 0.2, "responses": stored | self.changes}
        yield {"scan": "ß – \u2028 視覚"}


def written(source: Any, file: Path, **options: Any) -> Path:
    write_archive(source, file, holds=Holds(kind="database"), schema_version=1, **options)
    return file


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return written(OneScan(tmp_path / "store"), tmp_path / "lab.zip")


def read(file: Path) -> tuple[list[Row], bytes]:
    """All of an archive that has been verified."""
    with Archive(file) as archive:
        archive.verify([SCAN])
        rows = list(ArchiveSource(archive, [SCAN]).rows(SCAN))
        with archive.object(PATH) as content:
            return rows, content.read()


def rewritten(file: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    """The same archive with other entries."""
    with zipfile.ZipFile(file) as old:
        entries = {name: old.read(name) for name in old.namelist()}
    change(entries)
    new = file.with_name("changed.zip")
    with zipfile.ZipFile(new, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return new


def with_manifest(file: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """The same archive with another manifest."""

    def changed(entries: dict[str, bytes]) -> None:
        manifest = json.loads(entries["manifest.json"])
        change(manifest)
        entries["manifest.json"] = json.dumps(manifest).encode()

    return rewritten(file, changed)


def test_what_is_read_is_what_was_written(file: Path, tmp_path: Path) -> None:
    rows, content = read(file)
    assert rows == list(OneScan(tmp_path / "again").rows(SCAN))
    assert content == CONTENT
    with zipfile.ZipFile(file) as plain:
        assert plain.testzip() is None
        assert set(plain.namelist()) == {"manifest.json", "rows/Scan.jsonl", f"objects/{PATH}"}
        assert plain.getinfo(f"objects/{PATH}").compress_type == zipfile.ZIP_STORED


def test_the_same_content_makes_the_same_rows_and_objects(file: Path, tmp_path: Path) -> None:
    again = written(OneScan(tmp_path / "other"), tmp_path / "again.zip")
    with Archive(file) as one, Archive(again) as other:
        assert one.manifest.tables == other.manifest.tables
        assert one.manifest.objects == other.manifest.objects


def test_no_path_of_the_machine_is_in_it(file: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(file) as plain:
        for name in plain.namelist():
            assert str(tmp_path).encode() not in plain.read(name)


def test_a_file_that_is_there_stays_unless_told_otherwise(file: Path, tmp_path: Path) -> None:
    before = file.read_bytes()
    source = OneScan(tmp_path / "other")
    with pytest.raises(FileExistsError, match="--overwrite"):
        written(source, file)
    assert file.read_bytes() == before
    written(source, file, overwrite=True)
    assert read(file)[1] == CONTENT


@pytest.mark.parametrize(
    "name", [b"../../x.pth", b"/x.pth", b"a\\x", b"..", b"\xff", b"", b"x" * 300]
)
def test_an_attached_file_whose_name_leads_elsewhere_is_refused(
    tmp_path: Path, name: bytes
) -> None:
    good = OneNetwork(tmp_path / "good", NAMED)
    with Archive(written(good, tmp_path / "good.zip")) as archive:
        archive.verify([NETWORK])
    bad = OneNetwork(tmp_path / "bad", name + b"\0import os")
    with pytest.raises(ArchiveError, match="not the name of an attached file"):
        written(bad, tmp_path / "bad.zip")
    assert not (tmp_path / "bad.zip").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sha256": "0" * 64}, "another checksum"),
        ({"size": 7}, "774 bytes, expected 7"),
        ({"path": "_schema/lab/scan/scan=a/gone_x1.npy"}, "is missing"),
        ({"path": "../../etc/passwd"}, "not a path within the store"),
        ({"size": "large"}, "names no object"),
    ],
)
def test_damage_in_the_store_leaves_no_file_behind(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    source = OneScan(tmp_path / "store", **changes)
    with pytest.raises(StoreError, match=message):
        written(source, tmp_path / "lab.zip")
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_a_file_cut_short_anywhere_is_refused(file: Path) -> None:
    whole = file.read_bytes()
    for size in range(0, len(whole), 7):
        file.write_bytes(whole[:size])
        with pytest.raises(ArchiveError):
            read(file)


def test_of_an_altered_file_the_same_is_read_or_nothing(file: Path) -> None:
    """What may change is what nobody reads, such as the time in an entry's header."""
    whole, expected, refused = file.read_bytes(), read(file), 0
    for place in range(len(whole)):
        flip = (0x01, 0x80, 0xFF)[place % 3]
        file.write_bytes(whole[:place] + bytes([whole[place] ^ flip]) + whole[place + 1 :])
        try:
            assert read(file) == expected, place
        except ArchiveError:
            refused += 1
    assert refused > 0.7 * len(whole)


def test_a_file_of_another_kind_is_refused(tmp_path: Path, file: Path) -> None:
    (tmp_path / "text.zip").write_text("no archive")
    with pytest.raises(ArchiveError, match="not a ZIP file"):
        Archive(tmp_path / "text.zip")
    with pytest.raises(ArchiveError, match=r"no manifest\.json"):
        Archive(rewritten(file, lambda entries: entries.pop("manifest.json")))
    with pytest.raises(FileNotFoundError, match="no such file"):
        Archive(tmp_path / "nothing.zip")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(format="another"), "not that of a neuroteach archive"),
        (lambda m: m.update(format_version=2), "is of format 2, .* install a newer one"),
        (lambda m: m.pop("tables"), "tables: Field required"),
        (lambda m: m["tables"].update(Other=m["tables"]["Scan"]), "lacks rows/Other.jsonl"),
        (lambda m: m["tables"].clear(), "'rows/Scan.jsonl', which its manifest"),
        (lambda m: m["tables"]["Scan"].update(rows=3), "not those that were written"),
        (lambda m: m["tables"]["Scan"].update(sha256="0" * 64), "not those that were written"),
        (lambda m: m["tables"]["Scan"].update(key=["weight"]), "other columns"),
        (lambda m: m["tables"]["Scan"]["columns"].update(more="int"), "other columns"),
        (lambda m: m["objects"][PATH].update(sha256="0" * 64), "is not what was written"),
        (lambda m: m["objects"][PATH].update(size=1), "bytes, expected 1"),
        (lambda m: m.update(schema="other"), "not a path of schema other"),
    ],
)
def test_a_manifest_that_says_otherwise_is_refused(
    file: Path, change: Callable[[dict[str, Any]], None], message: str
) -> None:
    with pytest.raises(ArchiveError, match=message):
        read(with_manifest(file, change))


@pytest.mark.parametrize(
    "path",
    [
        "../evil",
        "_schema/lab/../../../evil",
        "/etc/passwd",
        "C:/evil",
        "_schema\\lab\\evil",
        "_checkpoints/lab/evil",
        "_schema/other/evil",
        "./_schema/lab/evil",
        "_schema//lab/evil",
    ],
)
def test_a_path_that_leads_elsewhere_is_refused(file: Path, path: str) -> None:
    """Also if manifest and rows agree with it."""

    def evil(entries: dict[str, bytes]) -> None:
        entries[f"objects/{path}"] = entries.pop(f"objects/{PATH}")
        manifest = json.loads(entries["manifest.json"])
        manifest["objects"][path] = manifest["objects"].pop(PATH)
        rows = entries["rows/Scan.jsonl"].replace(PATH.encode(), json.dumps(path)[1:-1].encode())
        entries["rows/Scan.jsonl"] = rows
        digest = hashlib.sha256(rows).hexdigest()
        manifest["tables"]["Scan"].update(size=len(rows), sha256=digest)
        entries["manifest.json"] = json.dumps(manifest).encode()

    with pytest.raises(ArchiveError):
        read(rewritten(file, evil))


@pytest.mark.parametrize("name", ["objects/../../evil", "/evil", "evil", "objects/_schema/lab/x"])
def test_an_entry_that_the_manifest_does_not_name_is_refused(file: Path, name: str) -> None:
    with pytest.raises(ArchiveError, match="does not name|leads out"):
        Archive(rewritten(file, lambda entries: entries.update({name: b"evil"})))


def test_a_link_is_refused(file: Path) -> None:
    with zipfile.ZipFile(file, "a") as archive:
        link = zipfile.ZipInfo("objects/_schema/lab/link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(ArchiveError, match="no file"):
        Archive(file)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_entry_that_is_there_twice_is_refused(file: Path) -> None:
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr(f"objects/{PATH}", CONTENT)
    with pytest.raises(ArchiveError, match="twice"):
        Archive(file)


def test_an_entry_that_claims_to_unpack_to_more_than_it_can_is_refused(file: Path) -> None:
    """Its size is what the manifest says, too."""
    claimed = 2**30

    def bomb(manifest: dict[str, Any]) -> None:
        manifest["tables"]["Scan"]["size"] = claimed

    changed = with_manifest(file, bomb)
    with zipfile.ZipFile(changed, "a") as archive:
        archive.getinfo("rows/Scan.jsonl").file_size = claimed
        archive._didModify = True  # type: ignore[attr-defined]
    with pytest.raises(ArchiveError, match="two sizes|impossible size"):
        Archive(changed)


def test_rows_and_objects_must_belong_together(file: Path) -> None:
    def lost(entries: dict[str, bytes]) -> None:
        rows = entries["rows/Scan.jsonl"].splitlines(keepends=True)[1]
        entries["rows/Scan.jsonl"] = rows
        manifest = json.loads(entries["manifest.json"])
        digest = hashlib.sha256(rows).hexdigest()
        manifest["tables"]["Scan"].update(size=len(rows), sha256=digest, rows=1)
        entries["manifest.json"] = json.dumps(manifest).encode()

    with pytest.raises(ArchiveError, match="do not belong together"):
        read(rewritten(file, lost))


def test_older_rows_get_the_checksums_of_their_objects(tmp_path: Path) -> None:
    source = OneScan(tmp_path / "store", size=None)

    def without(table: Table) -> Iterator[Row]:
        yield {"scan": "a", "responses": {"path": PATH, "store": "main"}}

    source.rows = without  # type: ignore[method-assign]
    rows, _ = read(written(source, tmp_path / "old.zip"))
    stored = rows[0]["responses"]
    assert stored["sha256"] == hashlib.sha256(CONTENT).hexdigest()
    assert stored["size"] == len(CONTENT)


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("int", 3, 3.5),
        ("bool", True, 1),
        ("str", "a", 1),
        ("float", 0.5, "half"),
        ("date", "2026-01-31", "2026-01-32"),
        ("datetime", "2026-01-31T10:00:00", "soon"),
        ("decimal", "1.50", "1.5.0"),
        ("bytes", "AAE=", "A"),
    ],
)
def test_a_value_of_another_type_is_refused(kind: str, good: Any, bad: Any) -> None:
    key = Column("key", Kind.whole, in_key=True)
    table = Table("T", "t", (key, Column("value", Kind(kind), in_key=False)), ())
    check_row(table, {"key": 1, "value": good})
    for row in ({"key": 1, "value": bad}, {"value": good}, {"key": 1, "other": 1}, [1]):
        with pytest.raises(RowError, match="^T: "):
            check_row(table, row)


def test_a_manifest_larger_than_any_is_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MOST_MANIFEST", 100)
    with pytest.raises(ArchiveError, match=r"manifest\.json of"):
        Archive(file)
