"""State dicts of other people's networks: tensors by name, from files that run no code."""

from __future__ import annotations

import io
import re
import tarfile
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from predictive_model.file_kinds import why_unreadable
from predictive_model.tensor_file import metadata_of

# How checkpoints call the state dict that they keep beside other things, likeliest first.
WRAPPERS = ("state_dict", "model_state_dict", "model_state", "model", "net", "network", "encoder")
PARTS = ("core", "readout", "shifter", "modulator")
SAVED_HOW = "torch.save(model.state_dict(), path)"
PICKLE = rb"\x80[\x03-\x05]"  # of a protocol that torch.save does not use


class PublishedEncoderError(ValueError):
    """A file that is no state dict, or that of a network that cannot be: says which key and why."""


def read_state_dict(path: str | Path, *, member: str | None = None) -> dict[str, Tensor]:
    """Tensors by name, from a file that ``torch.save`` or safetensors wrote. No code in it is run.

    A state dict may lie beside other things in a checkpoint, and its names may begin with those
    of wrappers, such as ``module.`` of ``DataParallel``: these are taken off.

    Parameters
    ----------
    path : path
    member : str, optional
        Of a file that holds several networks, the beginning of one's names.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    PublishedEncoderError
        If it is a folder, damaged, something else, or holds more than tensors.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file; expected a state dict")
    if path.is_dir():
        raise PublishedEncoderError(f"{path}: a folder, expected a file that torch.save wrote")
    content = path.read_bytes()
    try:
        found = _loaded(content)
        state = {name: _plain(tensor) for name, tensor in _tensors(found).items()}
        return without_prefix(state, member)
    except PublishedEncoderError as error:
        raise PublishedEncoderError(f"{path}: {error}") from error.__cause__


def without_prefix(state: Mapping[str, Tensor], member: str | None = None) -> dict[str, Tensor]:
    """A state dict whose names begin with core, readout, shifter or modulator."""
    inside = re.compile(rf"(?:(.*?)\.)?(?:{'|'.join(PARTS)})\.")
    prefixes = sorted({m[1] or "" for name in state if (m := inside.match(name))})
    if member is not None and member.rstrip(".") not in prefixes:
        named = ", ".join(prefix for prefix in prefixes if prefix)
        raise PublishedEncoderError(
            f"member: {member!r}, expected "
            + (f"one of {named}" if named else "none, since the file holds one network")
        )
    if member is None and len(prefixes) > 1:
        raise PublishedEncoderError(
            f"holds {len(prefixes)} networks, whose names begin with {', '.join(prefixes)}; "
            "choose one with --member"
        )
    chosen = member.rstrip(".") if member is not None else "".join(prefixes)
    if not chosen:
        return dict(state)
    start = f"{chosen}."
    return {
        name.removeprefix(start): tensor
        for name, tensor in state.items()
        if name.startswith(start) or member is None
    }


def _loaded(content: bytes) -> Any:
    """What is in a file, with the right diagnosis of a file that is something else."""
    if _is_safetensors(content):
        if "neuroteach" in str(_metadata(content).get("format")):
            raise PublishedEncoderError(
                "an encoder that neuroteach wrote; FittedEncoder.from_bytes reads it as it is"
            )
        try:
            return safetensors.torch.load(content)
        except safetensors.SafetensorError as error:
            raise PublishedEncoderError(
                f"a damaged or incomplete safetensors file ({error}); copy or download it again"
            ) from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickles that it may not understand
            return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # damaged bytes make it raise nearly anything
        raise PublishedEncoderError(_diagnosis(content, str(error))) from error


def _diagnosis(content: bytes, said: str) -> str:
    """Why ``torch.load`` could not read a file, and what to do."""
    names = _members(content)
    if any(name.endswith("constants.pkl") for name in names):
        return (
            "a TorchScript program, which is code, and was not read; write its tensors with "
            f"{SAVED_HOW}"
        )
    if "Unsupported global" in said or "Unsupported class" in said:
        what = re.search(r"GLOBAL ([\w.]+)", said)
        return (
            "holds Python objects, which can run any code when they are read"
            f"{f' ({what[1]})' if what else ''}, and was not read; expected tensors only. If it is "
            "a whole model, write its tensors where the model's own code is installed, with "
            f"{SAVED_HOW}"
        )
    if names and not any(name.endswith("data.pkl") for name in names):
        return (
            "is no state dict written by torch.save, but another archive; if the state dict is in "
            f"it, unpack it, otherwise write it with {SAVED_HOW}"
        )
    if re.match(PICKLE, content):
        return f"no state dict but a pickle that torch.save did not write; use {SAVED_HOW}"
    # A zip file, or a pickle as older versions wrote it.
    saved = content.startswith((b"PK", b"\x80\x02"))
    kind = "a damaged or incomplete file" if saved else "no file that torch.save wrote"
    return why_unreadable(content, kind, "copy or download it again", expected="a zip")


def _members(content: bytes) -> list[str]:
    """Names in a zip or tar file; none of another or a damaged one."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return archive.namelist()
    except zipfile.BadZipFile:
        pass
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as tar:
            return tar.getnames()
    except tarfile.TarError:
        return []


def _is_safetensors(content: bytes) -> bool:
    """Whether a file begins with the length of a JSON header, and the header."""
    return len(content) > 8 and content[8:9] == b"{" and content[6:8] == b"\0\0"


def _metadata(content: bytes) -> dict[str, Any]:
    try:
        return metadata_of(content)
    except ValueError:  # a damaged header, which safetensors itself will name
        return {}


def _tensors(found: Any) -> Mapping[str, Tensor]:
    """Tensors by name in what was loaded: itself, or one of its entries."""
    if not isinstance(found, Mapping):
        raise PublishedEncoderError(
            f"holds one {type(found).__name__}, expected a state dict, tensors by name"
        )
    if _is_state(found):
        return found
    states = [name for name, value in found.items() if _is_state(value)]
    known = [name for name in WRAPPERS if name in states]
    if known or len(states) == 1:
        return found[(known or states)[0]]
    if states:
        raise PublishedEncoderError(
            f"holds {len(states)} state dicts, {', '.join(map(repr, states))}; save one of them"
        )
    for name, value in found.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise PublishedEncoderError(
                f"entry {name!r} is a {type(value).__name__}, expected a tensor; save the model's "
                "state_dict() and nothing else"
            )
    raise PublishedEncoderError("holds no tensor, expected a state dict")


def _is_state(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and len(value) > 0
        and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in value.items())
    )


def _plain(tensor: Tensor) -> Tensor:
    """A parameter's values; floating-point numbers of other precisions become float32."""
    tensor = tensor.detach()
    return tensor.float() if tensor.is_floating_point() else tensor
