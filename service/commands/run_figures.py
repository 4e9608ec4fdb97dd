"""The figures of a training run, as its ``metrics.jsonl`` has them, and which of them are drawn together."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from adavae.model.errors import DatasetError

_METRICS = "metrics.jsonl"
_MAX_LINES = 1_000_000
Points = list[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Line:
    """One figure over the steps: points (step, value), all finite, in order of steps."""

    name: str
    points: Points


@dataclass(frozen=True, slots=True)
class Chart:
    """Lines that share an axis."""

    title: str
    lines: tuple[Line, ...]


_CHARTS: Mapping[str, Sequence[tuple[str, str]]] = {
    "loss, nats a token": (("loss", "training"), ("validation_loss", "validation")),
    "reconstruction, nats a text": (("reconstruction_nats", "reconstruction"),),
    "KL, nats a text": (("kl_nats", "KL"),),
    "head, nats a text": (("head_nats", "head"),),
    "what decides the best step": (("score", "validation"), ("best_score", "best so far")),
    "beta, weight of the KL": (("beta", "beta"),),
    "learning rate": (("learning_rate", "learning rate"),),
}


def metrics_file(run: Path) -> Path:
    """Where a run's figures are: of ``adavae train``, or of a job's newest attempt.

    Raises:
        DatasetError: There are none.
    """
    if run.is_file():
        return run
    attempts = [path for path in run.glob(f"attempts/*/{_METRICS}") if path.parent.name.isdigit()]
    found = max(attempts, key=lambda path: int(path.parent.name), default=run / _METRICS)
    if not found.is_file():
        raise DatasetError(f"{run} has no figures of a run ({_METRICS}): name one that `adavae runs list` shows")
    return found


def read_figures(path: Path) -> list[dict[str, float]]:
    """The finite numbers of each report, by name, one report a step; what is no report is passed over.

    Raises:
        DatasetError: There is not a single report.
    """
    reports: dict[float, dict[str, float]] = {}
    with path.open(encoding="utf-8", errors="replace") as file:
        for _, line in zip(range(_MAX_LINES), file, strict=False):
            report = _report(line)
            if "step" in report:
                reports[report["step"]] = report  # the last one counts: a run may have gone on from a checkpoint
    if not reports:
        raise DatasetError(f"{path} holds no figures yet: a run writes them every few steps")
    return [reports[step] for step in sorted(reports)]


def charts_of(reports: Sequence[Mapping[str, float]]) -> list[Chart]:
    """What there is to draw: figures that a run has, and that are not zero all the way."""
    charts = []
    for title, names in _CHARTS.items():
        lines = tuple(Line(shown, _points(reports, name)) for name, shown in names)
        drawn = tuple(line for line in lines if any(value for _, value in line.points))
        if drawn:
            charts.append(Chart(title, drawn))
    return charts


def _report(line: str) -> dict[str, float]:
    try:
        report = json.loads(line)
    except (ValueError, RecursionError):  # the last line of a run that was cut off
        return {}
    if not isinstance(report, dict):
        return {}
    return {
        name: float(value)
        for name, value in report.items()
        if type(value) in (int, float) and abs(value) < 1e300 and math.isfinite(value)
    }


def _points(reports: Sequence[Mapping[str, float]], name: str) -> Points:
    return [(report["step"], report[name]) for report in reports if name in report]
