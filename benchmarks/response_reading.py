"""Batches of predicted responses that do not fit into memory: by rows, against a memory map.

python -m benchmarks.response_reading [--images 110000] [--neurons 7776] [--batches 1000]
    [--folder FOLDER] [--json]

The file, half precision, is made in parts below FOLDER and removed afterwards. Both sides read the
same random batches of 128 stimuli as float32, ours after the file was compared with its checksum.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from datajoint.storage import StorageBackend
from numpy.typing import NDArray

from benchmarks.alternate import alternate, report
from benchmarks.memory import memory_in_processes, peak_memory
from predictive_model.array_file import ArrayParts
from regularized_training.teachers.responses import ResponseTeacher
from schemas.objects import write_parts
from schemas.stored import StoredArray

BAR = 300  # megabytes
BATCH = 128
OURS, PEER, WRITING = "ResponseTeacher", "numpy.memmap", "write_parts"
PATH = "responses.npy"


def parts(n_images: int, n_neurons: int) -> ArrayParts:
    """Responses that have to be made to be had."""

    def made() -> Iterator[NDArray[np.float16]]:
        rng = np.random.default_rng(0)
        for start in range(0, n_images, 512):
            shape = (min(512, n_images - start), n_neurons)
            yield rng.random(shape, np.float32).astype(np.float16)

    return ArrayParts((n_images, n_neurons), np.dtype(np.float16), made())


def store(folder: Path) -> StorageBackend:
    """A store in a folder."""
    return StorageBackend({"protocol": "file", "location": str(folder)})


def read_ours(about: dict[str, object], folder: Path) -> Callable[[NDArray], NDArray]:
    """Rows by a teacher of the stored array."""
    array = StoredArray(about, store(folder))
    # Stimuli as small as they can be: responses are what is measured.
    stimuli = np.tile(np.array([0, 255], np.uint8).reshape(1, 1, 1, 2), (array.shape[0], 1, 1, 1))
    return ResponseTeacher("model", stimuli, array).rows


def read_peer(folder: Path) -> Callable[[NDArray], NDArray]:
    """Rows of a memory map."""
    mapped = np.load(folder / PATH, mmap_mode="r")
    return lambda index: mapped[index].astype(np.float32)


def main() -> None:
    """Print a table, and with ``--json`` one JSON object as the last line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=110_000)
    parser.add_argument("--neurons", type=int, default=7_776)
    parser.add_argument("--batches", type=int, default=1_000)
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--made", type=Path, default=None, help=argparse.SUPPRESS)
    parser.add_argument("--memory-of", choices=(OURS, PEER, WRITING), help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    n = options.images
    rng = np.random.default_rng(1)
    batches = [rng.integers(n, size=BATCH) for _ in range(options.batches)]

    def about() -> dict[str, object]:
        said = (options.made / "sha256").read_text()
        shape = [n, options.neurons]
        return {"path": PATH, "dtype": "float16", "shape": shape, "sha256": said}

    def pass_through(read: Callable[[NDArray], NDArray], batches: list[NDArray] = batches) -> None:
        for batch in batches:
            read(batch)

    def write(folder: Path) -> None:
        said = write_parts(store(folder), PATH, parts(n, options.neurons).content())
        (folder / "sha256").write_text(said["sha256"])

    runs: dict[str, Callable[[], None]] = {
        OURS: lambda: pass_through(read_ours(about(), options.made)),
        PEER: lambda: pass_through(read_peer(options.made)),
        WRITING: lambda: write(options.made),
    }
    if options.memory_of:
        print(peak_memory(runs[options.memory_of]))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        options.made = Path(name)
        size = ["--images", str(n), "--neurons", str(options.neurons)]
        size += ["--batches", str(options.batches), "--made", name]
        memory = memory_in_processes("response_reading", (WRITING, OURS, PEER), size)
        started = time.perf_counter()
        ours = read_ours(about(), options.made)
        ours(batches[0])
        checked = time.perf_counter() - started
        peer = read_peer(options.made)
        each = batches[: options.batches // 10]
        seconds = alternate(
            {OURS: lambda: pass_through(ours, each), PEER: lambda: pass_through(peer, each)},
            options.rounds,
            warmup=1,
        )
    report(
        f"{len(each)} batches of {BATCH} of {n} stimuli x {options.neurons} neurons",
        seconds,
        PEER,
        {
            "bar_mb": BAR,
            "seconds_of_checksum": round(checked, 1),
            "writing_mb": memory[WRITING],
            "numpy": np.__version__,
        },
        columns={"memory_mb": memory},
        as_json=options.json,
    )


if __name__ == "__main__":
    main()
