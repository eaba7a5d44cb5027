"""A training that asks for several devices: a process for each, begun and watched by this one."""

from __future__ import annotations

import contextlib
import os
import pickle
import sys
import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import distributed, multiprocessing

from regularized_training.joint_loss import TrainingError

if TYPE_CHECKING:
    from regularized_training.trained_network import EpochRecord, TrainedNetwork

POLL = 0.2  # seconds between two looks at the processes
MEETING = timedelta(minutes=10)  # for them to find each other, and for one to wait for the others
FAILED, DONE = "failed.pickle", "trained.pickle"


def train_on_devices(
    train: Callable[..., TrainedNetwork],
    n: int,
    arguments: tuple[Any, ...],
    *,
    device: str | torch.device,
    progress: Callable[[EpochRecord], None] | None,
    **settings: Any,
) -> TrainedNetwork:
    """Train a network in a process for each of several devices of this machine.

    They meet by a file and not by a port, and die with this process.

    Parameters
    ----------
    train : callable
        :func:`~regularized_training.training.train`, which calls this.
    n : int
        Number of devices: of GPUs the first ones, of the CPU so many processes.
    arguments, progress, **settings
        As of :func:`~regularized_training.training.train`; what does not stay here has to be
        picklable.
    device : str or torch.device
        Of which kind.

    Raises
    ------
    TrainingError
        If the machine has fewer GPUs.
    Exception
        Whatever one of the processes raised.
    """
    kind = torch.device(device).type
    if kind == "cuda" and n > torch.cuda.device_count():
        raise TrainingError(
            f"devices: {n}, but this machine has {torch.cuda.device_count()} GPUs; lower it, or "
            "train on a machine that has so many"
        )
    context = multiprocessing.get_context("spawn")
    records = context.SimpleQueue()
    with tempfile.TemporaryDirectory(prefix="neuroteach-") as folder, _only_local(kind):
        work = multiprocessing.start_processes(
            _work,
            (train, n, torch.get_num_threads(), Path(folder), kind, records, arguments, settings),
            nprocs=n,
            join=False,
            start_method="spawn",
        )
        try:
            ended = False
            while not ended:
                ended = work.join(timeout=POLL)
                while not records.empty():
                    record = records.get()
                    if progress is not None:
                        progress(record)
        except (
            multiprocessing.ProcessRaisedException,
            multiprocessing.ProcessExitedException,
        ) as error:
            if (failed := Path(folder, FAILED)).is_file():
                raise pickle.loads(failed.read_bytes()) from error  # which has where it was raised
            raise
        finally:
            for process in work.processes:
                process.kill()
                process.join()
        trained: TrainedNetwork = pickle.loads(Path(folder, DONE).read_bytes())
        return trained


def _work(
    rank: int,
    train: Callable[..., TrainedNetwork],
    n: int,
    n_threads: int,
    folder: Path,
    kind: str,
    records: Any,
    arguments: tuple[Any, ...],
    settings: dict[str, Any],
) -> None:
    """What one of the processes does."""
    torch.set_num_threads(max(1, n_threads // n))
    device = f"cuda:{rank}" if kind == "cuda" else kind
    if kind == "cuda":
        torch.cuda.set_device(rank)
    distributed.init_process_group(
        "nccl" if kind == "cuda" else "gloo",
        init_method=f"file://{folder / 'meeting'}",
        rank=rank,
        world_size=n,
        timeout=MEETING,
    )
    try:
        progress = records.put if rank == 0 else None
        trained = train(*arguments, **settings, device=device, progress=progress)
    except Exception as error:
        # The first one's; what cannot be passed on stays in the message of torch's own error.
        with contextlib.suppress(Exception):
            said = pickle.dumps(error)
            pickle.loads(said)
            own = Path(folder, f"{FAILED}.{rank}")
            own.write_bytes(said)
            os.link(own, folder / FAILED)
        raise
    if rank == 0:
        Path(folder, DONE).write_bytes(pickle.dumps(trained))
    distributed.destroy_process_group()


@contextlib.contextmanager
def _only_local(kind: str) -> Any:
    """Processes of one machine talk by its loopback interface, whatever its name resolves to."""
    name = "GLOO_SOCKET_IFNAME"
    ours = kind == "cpu" and sys.platform == "linux" and name not in os.environ
    if ours:
        os.environ[name] = "lo"
    try:
        yield
    finally:
        if ours:
            del os.environ[name]
