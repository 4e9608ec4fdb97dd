"""Runs the benchmarks and shows one line per figure."""

import argparse
import json
import platform
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from adavae.model.config import WeightFormat
from adavae.service.engine.compute_threads import available_threads, use_threads
from adavae.service.settings import let_threads_wait_briefly
from tests.bench.peers.contest import peer_figures
from tests.bench.peers.environments import FOLDER
from tests.bench.side_by_side import Figure

GROUPS = ("engine", "http")


def figures(group: str, shape: str, rounds: int, weight_format: str) -> Iterator[Figure]:
    """Every figure of one group, as it is measured; ``shape`` and ``weight_format`` are for the engine only."""
    use_threads(1)  # as the service does, whose device thread is the only one that has several
    if group == "engine":
        from tests.bench.engine_speed import engine_figures
        from tests.bench.subjects import Subject

        subject = Subject.of(shape, weight_format=WeightFormat(weight_format))  # type: ignore[arg-type]
        yield from engine_figures(subject, rounds)
    else:
        from tests.bench.http_speed import http_figures

        yield from http_figures(rounds)


def measured(group: str, shape: str, rounds: int, weight_format: str) -> Iterator[Figure]:
    """The same from a fresh process: an engine's leftover threads slow down those of the next one."""
    let_threads_wait_briefly()
    command = [
        sys.executable,
        "-m",
        "tests.bench",
        "--here",
        "--only",
        group,
        "--shape",
        shape,
        "--rounds",
        str(rounds),
        "--weight-format",
        weight_format,
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            yield Figure(**json.loads(line))
    if process.returncode:
        sys.exit(process.returncode)


def as_line(figure: Figure | str) -> str:
    if isinstance(figure, str):
        return f"| {figure} | | | | |"
    verdict = {True: "met", False: "MISSED", None: ""}[figure.is_met]
    details = ", ".join(f"{name} {value}" for name, value in figure.details.items())
    return (
        f"| {figure.name} | {figure.value:g} ({figure.low:g} to {figure.high:g}) {figure.unit} "
        f"| {figure.target or ''} | {verdict} | {details} |"
    )


def machine() -> str:
    return (
        f"{platform.processor() or platform.machine()}, {available_threads()} threads, torch {torch.__version__}, "
        f"Python {platform.python_version()}"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="adavae bench", description="Speed, side by side with its peers, in one run.")
    parser.add_argument("--rounds", type=int, default=5, help="Rounds of which the median counts.")
    parser.add_argument("--shape", choices=["bundled", "124m", "both"], default="both", help="Backbones of the engine.")
    parser.add_argument("--only", choices=GROUPS, help="One group of figures.")
    parser.add_argument("--weight-format", choices=list(WeightFormat), default="float16", help="Of the engine.")
    parser.add_argument("--peers", action="store_true", help="Other engines instead, on the same weights.")
    parser.add_argument("--environments", type=Path, default=FOLDER, help="Where theirs lie.")
    parser.add_argument("--json", action="store_true", help="One JSON object a figure.")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.here:
        for figure in figures(chosen.only, chosen.shape, chosen.rounds, chosen.weight_format):
            _write(json.dumps(asdict(figure)))
        return
    shapes = ["bundled", "124m"] if chosen.shape == "both" else [chosen.shape]
    groups = [chosen.only] if chosen.only else GROUPS
    parts = [(group, shape) for group in groups for shape in (shapes if group == "engine" else ["bundled"])]
    if not chosen.json:
        _write(f"{machine()}\n| what | measured | target | | |\n|---|---|---|---|---|")
    found: Iterable[Figure | str] = (
        peer_figures(shapes, chosen.rounds, chosen.environments, available_threads())
        if chosen.peers
        else (figure for part in parts for figure in measured(*part, chosen.rounds, chosen.weight_format))
    )
    for figure in found:
        _write(_as_json(figure) if chosen.json else as_line(figure))


def _as_json(figure: Figure | str) -> str:
    return json.dumps({"told": figure} if isinstance(figure, str) else asdict(figure))


def _write(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
