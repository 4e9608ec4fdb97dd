"""Runs the benchmarks and shows one line a figure."""

import argparse
import json
import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict

import torch

from service.compute_threads import available_threads, use_threads
from service.settings import let_threads_wait_briefly
from tests.bench.side_by_side import Figure

GROUPS = ("engine", "http")


def figures(groups: Sequence[str], shapes: Sequence[str], rounds: int) -> Iterator[Figure]:
    """Every figure of the chosen groups, as it is measured."""
    if "engine" in groups:
        from tests.bench.engine_speed import engine_figures
        from tests.bench.subjects import Subject

        for shape in shapes:
            yield from engine_figures(Subject.of(shape), rounds)  # type: ignore[arg-type]
    if "http" in groups:
        from tests.bench.http_speed import http_figures

        yield from http_figures(rounds)


def run(groups: Sequence[str], shapes: Sequence[str], rounds: int, write: Callable[[Figure], None]) -> None:
    """Measures and writes, figure by figure."""
    for figure in figures(groups, shapes, rounds):
        write(figure)


def as_line(figure: Figure) -> str:
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
    parser.add_argument("--json", action="store_true", help="One JSON object a figure.")
    chosen = parser.parse_args(arguments)
    let_threads_wait_briefly()  # as the service does, which is why only its device thread has several
    use_threads(1)
    shapes = ["bundled", "124m"] if chosen.shape == "both" else [chosen.shape]
    groups = [chosen.only] if chosen.only else list(GROUPS)
    if not chosen.json:
        sys.stdout.write(f"{machine()}\n| what | measured | target | | |\n|---|---|---|---|---|\n")

    def write(figure: Figure) -> None:
        line = json.dumps(asdict(figure)) if chosen.json else as_line(figure)
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    run(groups, shapes, chosen.rounds, write)
