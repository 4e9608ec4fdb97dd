"""What the processes of one training run do together: share a step's texts, add up gradients, agree.

All of it is made of one operation, a sum over the processes, which the tests replace and one process does without.
Gradients are summed once a step, after the last micro-batch, as torch's DistributedDataParallel does in its buckets;
an adapter set is a few megabytes, so there is nothing to overlap. Each process then makes the same update by itself.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Protocol, Self

import torch
import torch.distributed as dist
from torch import Tensor, nn

from adavae.model.errors import TrainingProcessLost
from adavae.model.training.objective import Loss

_LOOPBACK = "127.0.0.1"


class ProcessGroup(Protocol):
    """The processes of a run, as one of them sees them.

    Attributes:
        rank: This one's number, from 0; 0 leads: it writes, reports and is asked to stop.
        size: How many there are.
    """

    rank: int
    size: int

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum of every process' ``tensor``, on its device; the same bits in each of them.

        Raises:
            TrainingProcessLost: Another process ended, or did not answer in time.
        """
        ...


class OneProcess:
    """A run that shares with nobody."""

    rank, size = 0, 1

    def sum(self, tensor: Tensor) -> Tensor:
        return tensor


class SeveralProcesses:
    """Processes of one machine over torch's gloo, on the loopback interface; tensors are summed on the CPU."""

    def __init__(self, gloo: dist.ProcessGroupGloo, timeout_s: float) -> None:
        self.rank, self.size = gloo.rank(), gloo.size()
        self._gloo, self._timeout_s = gloo, timeout_s

    @classmethod
    def join(cls, meeting: Path, rank: int, size: int, *, timeout_s: float) -> Self:
        """Waits for all the others.

        Args:
            meeting: A file that none of them has made yet, by which they find each other.
            rank: This process' number.
            size: How many there are.
            timeout_s: How long to wait for another process, here and in every sum.

        Raises:
            TrainingProcessLost: They did not come in time.
        """
        options = dist.ProcessGroupGloo._Options()  # type: ignore[attr-defined]
        options._devices = [dist.ProcessGroupGloo.create_device(hostname=_LOOPBACK)]
        options._timeout = timedelta(seconds=timeout_s)
        try:
            store = dist.FileStore(str(meeting), size)  # type: ignore[attr-defined]
            return cls(dist.ProcessGroupGloo(store, rank, size, options), timeout_s)
        except RuntimeError as exc:
            raise _lost(rank, timeout_s) from exc

    def sum(self, tensor: Tensor) -> Tensor:
        summed = tensor.detach().to("cpu", copy=True).contiguous()
        try:
            self._gloo.allreduce([summed]).wait()  # type: ignore[attr-defined]
        except RuntimeError as exc:
            raise _lost(self.rank, self._timeout_s) from exc
        return summed.to(tensor.device)


def share_of(group: ProcessGroup, num_rows: int, num_before: int) -> range:
    """This process' places among the rows of a micro-batch: all rows of a step are dealt out in turn.

    Args:
        group: The run's processes.
        num_rows: Of the micro-batch.
        num_before: Rows of the step's earlier micro-batches.
    """
    return range((group.rank - num_before) % group.size, num_rows, group.size)


def sum_gradients(group: ProcessGroup, parameters: Iterable[nn.Parameter]) -> None:
    """Gives every parameter the gradient of the whole step; one without a gradient in any process keeps none."""
    if group.size == 1:
        return
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    gradients = [torch.zeros_like(each) if each.grad is None else each.grad for each in trained]
    is_present = torch.tensor([each.grad is not None for each in trained], device=gradients[0].device)
    summed = group.sum(torch.cat([*(each.flatten().float() for each in gradients), is_present.float()]))
    *parts, counts = torch.split(summed, [*(each.numel() for each in gradients), len(trained)])
    for parameter, part, count in zip(trained, parts, counts.tolist(), strict=True):
        parameter.grad = part.view_as(parameter).to(parameter.dtype) if count else None


def sum_losses(group: ProcessGroup, loss: Loss) -> Loss:
    """The loss of a step's texts from that of each process' share of them."""
    if group.size == 1:
        return loss
    counts = loss.sums.new_tensor([loss.num_texts, loss.num_tokens], dtype=torch.float64)
    total, *rest = group.sum(torch.cat([loss.total.detach().double().view(1), loss.sums.double(), counts]))
    sums, (num_texts, num_tokens) = torch.stack(rest[:3]), rest[3:]
    return replace(
        loss,
        total=total.to(loss.total.dtype),
        sums=sums.to(loss.sums.dtype),
        num_texts=int(num_texts),
        num_tokens=int(num_tokens),
    )


def is_said(group: ProcessGroup, by_me: bool) -> bool:
    """Whether any of the processes says so."""
    return bool(group.sum(torch.tensor([by_me], dtype=torch.int64))) if group.size > 1 else by_me


def take_over(group: ProcessGroup, parameters: Iterable[nn.Parameter]) -> None:
    """Gives every process the leader's weights, bit by bit."""
    if group.size == 1:
        return
    weights = [parameter.data for parameter in parameters]
    flat = torch.cat([each.flatten().float() for each in weights]).view(torch.int32)
    leaders = group.sum(torch.zeros_like(flat) if group.rank else flat).view(torch.float32)
    for mine, part in zip(weights, torch.split(leaders, [each.numel() for each in weights]), strict=True):
        mine.copy_(part.view_as(mine))


def check_agreement(group: ProcessGroup, step: int, parameters: Iterable[Tensor]) -> None:
    """Raises TrainingProcessLost if another process is at another step, or has other weights in any bit."""
    if group.size == 1:
        return
    values = torch.zeros(group.size, 2, dtype=torch.int64)
    values[group.rank] = torch.tensor([step, sum(_bits(parameter) for parameter in parameters) % 2**62])
    values = group.sum(values)
    if bool((values != values[0]).any()):
        raise TrainingProcessLost(
            f"the training processes have come apart by step {step}: their weights are no longer the same; go on from "
            "the newest checkpoint, with one process if it happens again"
        )


def _bits(parameter: Tensor) -> int:
    """A checksum of float32 values, as whole numbers: no rounding, any order."""
    return int(parameter.detach().float().contiguous().view(torch.int32).sum(dtype=torch.int64))


def _lost(rank: int, timeout_s: float) -> TrainingProcessLost:
    return TrainingProcessLost(
        f"training process {rank} lost another one, which ended or did not answer within {timeout_s:g} s"
    )
