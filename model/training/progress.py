"""Progress of a training run: averages of a few steps, for the caller and for ``metrics.jsonl``.

The caller is told of the first step, and then every few steps or seconds; ``metrics.jsonl`` has a line every ten steps,
so that it is the same however fast the machine is.
"""

import json
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from adavae.model.training.objective import Loss

_LOG_EVERY = 10
_SILENT_S = 2.0  # the caller hears of a run's slow steps at least that often
_STEPS_OF_A_PACE = 3  # the first one pays for what is prepared once
_SHOWN_ALREADY = "objective"  # a criterion that is the validation loss


@dataclass(frozen=True, slots=True)
class Progress:
    """What a run reports; losses and speed are those of the steps since the last line of ``metrics.jsonl``.

    Attributes:
        step: Steps taken.
        total_steps: Steps of the whole run.
        loss: Training loss, nats per token.
        reconstruction_nats: Nats per text.
        kl_nats: Nats per text.
        head_nats: Nats per text.
        beta: Weight of the KL in the latest step.
        learning_rate: That of the latest step.
        tokens_per_s: Target tokens per second.
        eta_s: Seconds to the end at this speed; None before the third step that was taken here.
        validation_loss: At the latest validation, nats per token; None before the first.
        criterion: What decides which step is best and when to stop, lower being better (``validation.Criterion``).
        score: The criterion at the latest validation; None before the first.
        best_score: The lowest so far; None before the first.
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
    eta_s: float | None
    validation_loss: float | None
    criterion: str
    score: float | None
    best_score: float | None


def judged_by(figures: Mapping[str, object]) -> str:
    """What decides the best step, for people: ``head cross-entropy 0.512 (best 0.480)``.

    Args:
        figures: ``Progress`` as a mapping; from an older version or before the first validation this is empty.
    """
    score, best = figures.get("score"), figures.get("best_score")
    if not isinstance(score, float) or not isinstance(best, float):
        return ""
    title = str(figures.get("criterion", "")).partition(",")[0]
    return f"best {best:.3f}" if title == _SHOWN_ALREADY else f"{title} {score:.3f} (best {best:.3f})"


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


def of_stage(stage: str, on_stage: OnStage) -> OnDone:
    """Tells ``on_stage`` of one stage."""
    return lambda done, total: on_stage(stage, done, total)


class Reported(Protocol):
    """What a report needs to know of its run."""

    @property
    def step(self) -> int: ...

    @property
    def total_steps(self) -> int: ...

    @property
    def last_beta(self) -> float: ...

    @property
    def last_learning_rate(self) -> float: ...

    @property
    def validation_loss(self) -> float | None: ...

    @property
    def criterion(self) -> str: ...

    @property
    def score(self) -> float | None: ...

    @property
    def best_score(self) -> float | None: ...

    @property
    def is_finished(self) -> bool: ...


class Pace:
    """When a run is told of, and how long it will still take."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock, self._num_steps, self._told_at = clock, 0, float("-inf")
        self._ends: deque[float] = deque(maxlen=_LOG_EVERY + 1)

    def step(self) -> None:
        """One more was taken."""
        self._num_steps += 1
        self._ends.append(self._clock())

    def is_due(self) -> bool:
        """Whether somebody who watches should be told of this step, beside every tenth."""
        is_early = self._num_steps in (1, _STEPS_OF_A_PACE)
        return is_early or self._ends[-1] - self._told_at >= _SILENT_S

    def told(self) -> None:
        self._told_at = self._clock()

    def eta_s(self, num_steps: int) -> float | None:
        """Seconds that so many steps more will take; None while that is a guess."""
        if len(self._ends) < _STEPS_OF_A_PACE:
            return None
        return num_steps * (self._ends[-1] - self._ends[0]) / (len(self._ends) - 1)


class Report:
    """Averages steps into ``Progress`` for the caller, and into lines of ``metrics.jsonl``."""

    def __init__(self, run: Reported, path: Path, on_progress: OnProgress | None, *, is_resumed: bool) -> None:
        self.run, self.path, self.on_progress = run, path, on_progress
        self.losses: list[Loss] = []
        self.pace = Pace()
        self.started = time.perf_counter()
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = _lines_up_to(path, run.step) if is_resumed and path.exists() else []
        path.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")

    def add(self, loss: "Loss", norm: float) -> None:
        self.losses.append(loss)
        self.pace.step()
        step = self.run.step
        is_line = step % _LOG_EVERY == 0 or self.run.is_finished
        if not is_line and not self.pace.is_due():
            return
        progress = self._progress(step)
        if is_line:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({**asdict(progress), "gradient_norm": norm}) + "\n")
            self.losses, self.started = [], time.perf_counter()
        if self.on_progress is not None:
            self.on_progress(progress)
        self.pace.told()

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
            beta=run.last_beta,
            learning_rate=run.last_learning_rate,
            tokens_per_s=sum(loss.num_tokens for loss in losses) / elapsed,
            eta_s=self.pace.eta_s(run.total_steps - step),
            validation_loss=run.validation_loss,
            criterion=str(run.criterion),
            score=run.score,
            best_score=run.best_score,
        )


class NoReport:
    """Of a process that does not lead its run."""

    def add(self, loss: "Loss", norm: float) -> None:
        del loss, norm


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
