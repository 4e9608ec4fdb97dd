"""When a run is told of: from its first step on, however slow its steps are."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from adavae.model.training import progress as module
from adavae.model.training.objective import Loss
from adavae.model.training.progress import Pace, Progress, Report, judged_by


@dataclass
class Run:
    """A run whose steps take some seconds each, by a clock of its own."""

    total_steps: int
    step_s: float
    step: int = 0
    now_s: float = 100.0
    last_beta: float = 1.0
    last_learning_rate: float = 0.1
    validation_loss: float | None = None
    criterion: str = "objective, nats a token"
    score: float | None = None
    best_score: float | None = None

    @property
    def is_finished(self) -> bool:
        return self.step == self.total_steps

    def advance(self) -> None:
        self.step, self.now_s = self.step + 1, self.now_s + self.step_s


def told(monkeypatch: pytest.MonkeyPatch, path: Path, run: Run) -> list[Progress]:
    """What is told of all of its steps."""
    seen: list[Progress] = []
    monkeypatch.setattr(module, "Pace", lambda: Pace(lambda: run.now_s))
    monkeypatch.setattr(module.time, "perf_counter", lambda: run.now_s)
    report = Report(run, path, seen.append, is_resumed=False)
    while not run.is_finished:
        run.advance()
        report.add(Loss(torch.tensor(float(run.step)), torch.zeros(3), num_texts=1, num_tokens=7), 0.5)
    return seen


def test_quick_steps_are_told_of_at_the_first_the_third_and_every_tenth(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen = told(monkeypatch, tmp_path / "metrics.jsonl", Run(total_steps=24, step_s=0.01))
    assert [each.step for each in seen] == [1, 3, 10, 20, 24]
    assert [each.loss for each in seen] == [1.0, 2.0, 5.5, 15.5, 22.5]


def test_slow_steps_are_told_of_one_by_one_and_time_left_from_the_third_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen = told(monkeypatch, tmp_path / "metrics.jsonl", Run(total_steps=12, step_s=5.0))
    assert [each.step for each in seen] == list(range(1, 13))
    assert [each.eta_s for each in seen[:4]] == [None, None, 45.0, 40.0]
    assert seen[-1].eta_s == 0.0


def test_lines_are_the_same_however_fast_the_machine_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    lines = []
    for step_s in (0.01, 5.0):
        path = tmp_path / f"{step_s}.jsonl"
        told(monkeypatch, path, Run(total_steps=24, step_s=step_s))
        lines.append([json.loads(line) for line in path.read_text().splitlines()])
    timed = {"tokens_per_s", "eta_s"}
    quick, slow = ([{name: own[name] for name in own if name not in timed} for own in each] for each in lines)
    assert [line["step"] for line in quick] == [10, 20, 24]
    assert quick == slow


def test_what_decides_is_told_by_its_name_and_the_objective_only_once() -> None:
    figures = {"criterion": "head cross-entropy, nats a text", "score": 0.5, "best_score": 0.25, "validation_loss": 3.0}
    assert judged_by(figures) == "head cross-entropy 0.500 (best 0.250)"
    assert judged_by(figures | {"criterion": "objective, nats a token"}) == "best 0.250"
    assert judged_by(figures | {"score": None}) == judged_by({}) == ""
