"""Progress of a training run: averages of a few steps, for the caller and for ``metrics.jsonl``."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from adavae.model.training.objective import Loss

_LOG_EVERY = 10


@dataclass(frozen=True, slots=True)
class Progress:
    """What a run reports, averaged over the steps since the last report.

    Attributes:
        step: Steps taken.
        total_steps: Steps of the whole run.
        loss: Training loss, nats per token.
        reconstruction_nats: Nats per text.
        kl_nats: Nats per text.
        head_nats: Nats per text.
        beta: Weight of the KL at this step.
        learning_rate: Learning rate at this step.
        tokens_per_s: Target tokens per second.
        eta_s: Seconds to the end at this speed.
        validation_loss: At the latest validation, nats per token; None before the first.
    """

    step: int
    total_steps: int
    loss: float
    reconstruction_nats: float
    kl_nats: float
    head_nats: float
    beta: float
    learning_rate: float
    tokens_per_s: float
    eta_s: float
    validation_loss: float | None


OnProgress = Callable[[Progress], None]

OnStage = Callable[[str, int, int], None]
"""Told the stage of measuring, and how many cases of how many are done."""

OnDone = Callable[[int, int], None]
"""Told how many cases of how many are done."""


def ignore_stage(stage: str, done: int, total: int) -> None:
    """An ``OnStage`` that does nothing."""
    del stage, done, total


def ignore_done(done: int, total: int) -> None:
    """An ``OnDone`` that does nothing."""
    del done, total


class Reported(Protocol):
    """What a report needs to know of its run."""

    @property
    def step(self) -> int: ...

    @property
    def total_steps(self) -> int: ...

    @property
    def beta(self) -> float: ...

    @property
    def learning_rate(self) -> float: ...

    @property
    def validation_loss(self) -> float | None: ...

    @property
    def is_finished(self) -> bool: ...


class Report:
    """Averages steps into ``Progress`` for the caller, and into one line of ``metrics.jsonl``."""

    def __init__(self, run: Reported, path: Path, on_progress: OnProgress | None, *, is_resumed: bool) -> None:
        self.run, self.path, self.on_progress = run, path, on_progress
        self.losses: list[Loss] = []
        self.started = time.perf_counter()
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = _lines_up_to(path, run.step) if is_resumed and path.exists() else []
        path.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")

    def add(self, loss: Loss, norm: float) -> None:
        self.losses.append(loss)
        step = self.run.step
        if step % _LOG_EVERY and not self.run.is_finished:
            return
        progress = self._progress(step)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({**asdict(progress), "gradient_norm": norm}) + "\n")
        if self.on_progress is not None:
            self.on_progress(progress)
        self.losses, self.started = [], time.perf_counter()

    def _progress(self, step: int) -> Progress:
        losses, run = self.losses, self.run
        elapsed = time.perf_counter() - self.started
        return Progress(
            step=step,
            total_steps=run.total_steps,
            loss=_mean([float(loss.total.detach()) for loss in losses]),
            reconstruction_nats=_mean([loss.reconstruction_nats for loss in losses]),
            kl_nats=_mean([loss.kl_nats for loss in losses]),
            head_nats=_mean([loss.head_nats for loss in losses]),
            beta=run.beta,
            learning_rate=run.learning_rate,
            tokens_per_s=sum(loss.num_tokens for loss in losses) / elapsed,
            eta_s=(run.total_steps - step) * elapsed / len(losses),
            validation_loss=run.validation_loss,
        )


def _lines_up_to(path: Path, step: int) -> list[str]:
    """Lines of a metrics file that a resumed run will not write again; an incomplete last line is dropped."""
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line)
        except (json.JSONDecodeError, KeyError):
            break
    return kept


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
