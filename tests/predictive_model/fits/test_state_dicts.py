"""Files of other people: a state dict, wrapped in whatever, or the right word for what it is."""

from __future__ import annotations

import io
import pickle
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from predictive_model.fits.published import PublishedEncoderError, read_state_dict
from predictive_model.fits.state_dicts import without_prefix


def state() -> dict[str, Tensor]:
    """Names like those of an encoder."""
    return {
        "core.features.layer0.conv.weight": torch.randn(2, 1, 3, 3),
        "readout.a.bias": torch.randn(4),
    }


def same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> bool:
    return found.keys() == expected.keys() and all(
        torch.equal(found[k], expected[k]) for k in expected
    )


# -- what a state dict may be wrapped in -------------------------------------------------------


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda s: s,
        lambda s: {"state_dict": s, "epoch": 3, "optimizer": {"lr": 0.1}},
        lambda s: {"model_state_dict": s, "scores": [0.1, 0.2]},
        lambda s: {"my_network": s, "seed": 1},
        lambda s: {"model": s, "ema": s},
        lambda s: {f"module.{k}": v for k, v in s.items()},
        lambda s: {"state_dict": {f"module.{k}": v for k, v in s.items()}},
        lambda s: {f"model.module.{k}": v for k, v in s.items()},
        lambda s: {k: nn.Parameter(v) for k, v in s.items()},
        lambda s: {k: v.double() for k, v in s.items()},
    ],
    ids=[
        "alone",
        "state_dict",
        "model_state_dict",
        "a name of one's own",
        "beside its average",
        "DataParallel",
        "both",
        "two wrappers",
        "parameters",
        "float64",
    ],
)
def test_a_state_dict_is_found_in_a_checkpoint_and_behind_prefixes(tmp_path, wrapped):
    expected = state()
    torch.save(wrapped(expected), tmp_path / "a.pth")
    assert same(read_state_dict(tmp_path / "a.pth"), expected)


def test_safetensors_hold_state_dicts_too(tmp_path):
    expected = state()
    path = tmp_path / "a.safetensors"
    safetensors.torch.save_file({f"module.{k}": v for k, v in expected.items()}, path)
    assert same(read_state_dict(path), expected)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(PublishedEncoderError, match="incomplete safetensors file"):
        read_state_dict(path)


def test_of_several_networks_one_is_chosen():
    first, second = state(), state()
    both = {f"members.{n}.{k}": v for n, s in enumerate((first, second)) for k, v in s.items()}
    with pytest.raises(PublishedEncoderError, match="2 networks.*members.0, members.1;.*--member"):
        without_prefix(both)
    assert same(without_prefix(both, "members.1"), second)
    with pytest.raises(PublishedEncoderError, match="expected one of members.0, members.1"):
        without_prefix(both, "members.2")


def test_of_several_state_dicts_none_is_guessed(tmp_path):
    torch.save({"first": state(), "second": state()}, tmp_path / "a.pth")
    with pytest.raises(PublishedEncoderError, match="2 state dicts, 'first', 'second'; save one"):
        read_state_dict(tmp_path / "a.pth")


# -- a file that is no state dict --------------------------------------------------------------


class Malicious:
    """Runs code of its own when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return (Path.touch, (self.mark,))


@pytest.mark.parametrize("legacy", [False, True])
def test_code_in_a_file_is_refused_and_not_run(tmp_path, legacy):
    path, mark = tmp_path / "model.pth", tmp_path / "ran"
    content = {"core": Malicious(mark)}
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(PublishedEncoderError, match="Python objects, which can run any code"):
        read_state_dict(path)
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(PublishedEncoderError, match="model.pth: "):
        read_state_dict(path)
    assert not mark.exists()


def test_no_file_is_not_a_state_dict(tmp_path):
    with pytest.raises(FileNotFoundError, match="missing.pth: no such file"):
        read_state_dict(tmp_path / "missing.pth")
    with pytest.raises(PublishedEncoderError, match="a folder, expected a file"):
        read_state_dict(tmp_path)


@pytest.mark.parametrize("content", [b"", b"404: Not Found\n", bytes(1000), b"\x80\x02"])
def test_another_file_is_not_a_state_dict(tmp_path, content):
    (tmp_path / "other.pth").write_bytes(content)
    with pytest.raises(PublishedEncoderError, match="other.pth: .*; copy or download it again"):
        read_state_dict(tmp_path / "other.pth")


def archive(*names: str) -> bytes:
    """A zip file with files of these names in it."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        for name in names:
            file.writestr(name, b"")
    return content.getvalue()


def tar() -> bytes:
    """A tar file with one file in it."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as file:
        file.addfile(tarfile.TarInfo("model.pth"))
    return content.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<!DOCTYPE html>\n<html>", "a web page .*; download it again"),
        (b"\n<html lang='en'>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1", "that Git LFS left .*pull"),
        (b"../.git/annex/objects/a/b/SHA256E-s9--0f.pth", "pointer that git-annex left .*get"),
        (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
        (b"\x93NUMPY\x01", "a NumPy array"),
        (b"\x1f\x8b\x08\x00", "compressed by gzip; unpack it"),
        (pickle.dumps({"a": 1}, protocol=5), "a pickle that torch.save did not write"),
        (archive("images.npy"), "no state dict written by torch.save, but another archive"),
        (archive("model/data.pkl", "model/constants.pkl"), "a TorchScript program"),
        (tar(), "another archive; if the state dict is in it, unpack it"),
        (b"404: Not Found", "text, which begins with '404: Not Found'.; copy or download it again"),
    ],
    ids=lambda value: value if isinstance(value, str) else "content",  # archives hold the time
)
def test_a_file_of_another_kind_is_called_by_its_name(tmp_path, content, message):
    (tmp_path / "other.pth").write_bytes(content)
    with pytest.raises(PublishedEncoderError, match=f"other.pth: .*{message}"):
        read_state_dict(tmp_path / "other.pth")


def test_a_whole_model_is_told_what_to_save(tmp_path):
    torch.save(nn.Linear(2, 2), tmp_path / "model.pth")
    with pytest.raises(PublishedEncoderError, match="torch.nn.modules.linear.Linear.*state_dict"):
        read_state_dict(tmp_path / "model.pth")


@pytest.mark.parametrize("legacy", [False, True])
def test_part_of_a_file_is_not_a_state_dict(tmp_path, legacy):
    path = tmp_path / "part.pth"
    torch.save(state(), path, _use_new_zipfile_serialization=not legacy)
    whole = path.read_bytes()
    for share in (0.1, 0.5, 0.9, 0.99):
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(PublishedEncoderError, match="part.pth: a damaged or incomplete file"):
            read_state_dict(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([torch.zeros(2)], "holds one list"),
        (torch.zeros(2), "holds one Tensor"),
        ({"state_dict": {"a": 1}}, "entry 'state_dict' is a dict"),
        ({}, "holds no tensor"),
        ({0: torch.zeros(2)}, "entry 0 is a Tensor, expected"),
    ],
)
def test_a_state_dict_is_tensors_by_name(tmp_path, content, message):
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(PublishedEncoderError, match=message):
        read_state_dict(tmp_path / "a.pth")
