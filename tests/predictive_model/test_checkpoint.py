"""Checkpoints are whole or absent, and belong to one computation."""

import os
import resource

import numpy as np
import pytest
import torch

from predictive_model.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from predictive_model.digest import array_digest, fingerprint

STATE = {"weights": {"w": torch.arange(6.0).reshape(2, 3)}, "epoch": 3, "history": [{"loss": 0.5}]}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "new" / "folder" / "fit.pt"


def test_what_was_saved_is_loaded(path):
    save_checkpoint(path, STATE, belongs_to="me")
    loaded = load_checkpoint(path, belongs_to="me")
    assert torch.equal(loaded["weights"]["w"], STATE["weights"]["w"])
    assert (loaded["epoch"], loaded["history"]) == (3, [{"loss": 0.5}])


def test_where_nothing_was_saved_there_is_nothing(path):
    assert load_checkpoint(path, belongs_to="me") is None


def test_a_checkpoint_of_another_computation_is_refused(path):
    save_checkpoint(path, STATE, belongs_to="somebody")
    with pytest.raises(CheckpointError, match=r"fit.pt was written with other .*; delete it"):
        load_checkpoint(path, belongs_to="me")


@pytest.mark.parametrize("damage", ["empty", "half", "text", "other"])
def test_a_damaged_checkpoint_is_refused_with_what_to_do(path, damage):
    save_checkpoint(path, STATE, belongs_to="me")
    content = path.read_bytes()
    if damage == "other":
        torch.save([1, 2], path)
    else:
        path.write_bytes({"empty": b"", "half": content[: len(content) // 2], "text": b"?"}[damage])
    with pytest.raises(CheckpointError, match=r"fit.pt cannot be read .*; delete it to start"):
        load_checkpoint(path, belongs_to="me")


def test_a_checkpoint_runs_no_code_of_its_own(path, tmp_path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "sprung"),)

    path.parent.mkdir(parents=True)
    torch.save({"belongs_to": "me", "state": Trap()}, path)
    with pytest.raises(CheckpointError):
        load_checkpoint(path, belongs_to="me")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("where", ["save", "replace"])
def test_a_failed_write_leaves_the_old_checkpoint_and_nothing_else(path, monkeypatch, where):
    save_checkpoint(path, STATE, belongs_to="me")

    def full(*args, **kwargs):
        raise OSError("no space left on device")

    monkeypatch.setattr(*{"save": (torch, "save"), "replace": (os, "replace")}[where], full)
    with pytest.raises(OSError, match="no space"):
        save_checkpoint(path, {"epoch": 4}, belongs_to="me")
    monkeypatch.undo()
    assert load_checkpoint(path, belongs_to="me")["epoch"] == 3
    assert [p.name for p in path.parent.iterdir()] == ["fit.pt"]


def test_a_disk_without_space_is_named(path):
    save_checkpoint(path, STATE, belongs_to="me")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        said = "fit.pt: the checkpoint could not be written .*File too large"
        with pytest.raises(OSError, match=said):
            save_checkpoint(path, {"w": torch.zeros(1_000_000)}, belongs_to="me")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert load_checkpoint(path, belongs_to="me")["epoch"] == 3
    assert [p.name for p in path.parent.iterdir()] == ["fit.pt"]


def test_a_fingerprint_depends_on_every_part_and_not_on_their_order():
    assert fingerprint(a=1, b={"c": 2, "d": 3}) == fingerprint(b={"d": 3, "c": 2}, a=1)
    prints = [fingerprint(a=1), fingerprint(a=2), fingerprint(b=1), fingerprint(a="1")]
    assert len(set(prints)) == 4


def test_a_digest_depends_on_contents_shape_type_and_order():
    a, b = np.arange(6), np.ones(3)
    digests = [
        array_digest(*arrays)
        for arrays in (
            [a, b], [b, a], [a], [a, None], [None, a], [a.reshape(2, 3)], [a.astype(np.int32)],
            [a + 1], [a[::-1]],
        )
    ]  # fmt: skip
    assert len(set(digests)) == len(digests)
    assert array_digest(a) == array_digest(a.copy())
    assert array_digest(a[::2]) == array_digest(a[::2].copy())
