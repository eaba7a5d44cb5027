"""One training in several processes: on the GPUs of a machine, or on several machines.

Those of one machine are started where ``TrainingConfig.devices`` asks for them; those of several by
torch's own launcher. Its ``DistributedDataParallel`` keeps their networks alike. A script for
``torchrun --nproc-per-node 4 script.py`` is that for one process, but for three lines::

    import os
    import torch.distributed

    torch.distributed.init_process_group()   # nccl on GPUs, gloo on processors
    device = f"cuda:{os.environ['LOCAL_RANK']}"
    trained = train(task, network_config, config, seed, teacher=teacher, device=device)
    torch.distributed.destroy_process_group()

Batch sizes and numbers of stimuli are those of all processes together. As usual with
``DistributedDataParallel``, each process normalises by its own part of a batch, so the result is
close to that of one process, but not the same; and stimuli are compared within a process, so that
all pairs are fewer. A checkpoint lies in a folder that all of them can read.
"""

from __future__ import annotations

from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel


def world_size() -> int:
    """Number of processes that train together; 1 without a process group."""
    return distributed.get_world_size() if _joined() else 1


def is_first() -> bool:
    """Whether this process is the one that writes files."""
    return not _joined() or distributed.get_rank() == 0


def wait_for_all() -> None:
    """Go on when all processes have come here."""
    if world_size() > 1:
        distributed.barrier()


def replicated(module: nn.Module, *, some_unused: bool = False) -> nn.Module:
    """The module, whose gradients are averaged over processes if there are several.

    Parameters
    ----------
    module : nn.Module
    some_unused : bool
        Whether some of its parameters have no gradient in some steps.
    """
    if world_size() == 1:
        return module
    device = next(module.parameters()).device
    return DistributedDataParallel(
        module,
        device_ids=[device] if device.type == "cuda" else None,
        find_unused_parameters=some_unused,
    )


def averaged(values: Tensor) -> Tensor:
    """Mean over processes."""
    if world_size() == 1:
        return values
    values = values.clone()
    distributed.all_reduce(values)
    return values / world_size()


def require_alike(value: object, what: str) -> None:
    """Raise a RuntimeError unless all processes have the same value."""
    if world_size() > 1:
        values: list[object] = [None] * world_size()
        distributed.all_gather_object(values, value)
        if any(v != value for v in values):
            raise RuntimeError(
                f"{what}: {', '.join(map(str, values))} in the processes, expected the same in all"
            )


def share_buffers(module: nn.Module) -> None:
    """Give all processes the first one's buffers: each gathers statistics of its own part."""
    if world_size() > 1:
        for buffer in module.buffers():
            distributed.broadcast(buffer, 0)


class Share:
    """What one process takes of a batch that all draw alike.

    Parameters
    ----------
    n : int
        Size of the batch.
    at_least : int
        With fewer a process could not work.
    parts : int
        Number of parts that the batch consists of, each divided evenly: 2 where the first stimuli
        of all pairs come before the second ones.

    Raises
    ------
    ValueError
        If the batch cannot be divided evenly, or the parts would be too small.
    """

    def __init__(self, n: int, *, at_least: int = 2, parts: int = 1) -> None:
        self.world = world_size()
        self.rank = distributed.get_rank() if self.world > 1 else 0
        even = self.world * parts
        if self.world > 1 and (n % even or n // self.world < at_least):
            raise ValueError(
                f"batch: {n} for {self.world} processes, expected a multiple of {even} with at "
                f"least {at_least} for each; change batch_size or n_stimuli, or the number of "
                "processes"
            )

    def of(self, batch: Tensor) -> Tensor:
        """Every ``world``-th row, beginning with the process's own rank."""
        return batch[self.rank :: self.world] if self.world > 1 else batch

    def of_pairs(self, chosen: Tensor, pairs: Tensor) -> tuple[Tensor, Tensor]:
        """Stimuli and those pairs, renumbered, of which both stimuli are this process's own.

        Parameters
        ----------
        chosen : (n,) Tensor
        pairs : (2, pair) Tensor
            Places in `chosen`.
        """
        own = pairs[:, (pairs % self.world == self.rank).all(0)]
        return self.of(chosen), own // self.world

    def summed(self, values: Tensor) -> Tensor:
        """Sum over processes."""
        return averaged(values) * self.world if self.world > 1 else values


def _joined() -> bool:
    return distributed.is_available() and distributed.is_initialized()
