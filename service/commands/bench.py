"""``adavae bench``: speed, side by side with its peers; the measuring itself is in the checkout's ``tests/bench``."""

import importlib.util
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from adavae.model.errors import AdaVAEError
from adavae.service.commands.options import JsonOption


class NoCheckout(AdaVAEError):
    """The benchmarks are not part of an installed wheel."""


def bench(
    shape: Annotated[
        Literal["bundled", "124m", "both"], typer.Option("--shape", help="Backbones that the engine is measured on.")
    ] = "both",
    only: Annotated[Literal["engine", "http"] | None, typer.Option("--only", help="One group of figures.")] = None,
    rounds: Annotated[int, typer.Option("--rounds", min=2, max=100, help="Rounds of which the median counts.")] = 5,
    weight_format: Annotated[
        Literal["float16", "int8"], typer.Option("--weight-format", help="Weights of the engine.")
    ] = "float16",
    peers: Annotated[
        bool, typer.Option("--peers", help="Against other engines on the same weights, in their own environments.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Measure speed against transformers, against one sentence at a time, and through HTTP.

    Every figure is a ratio measured in one run. Takes some minutes; the machine should have nothing else to do.
    """
    checkout = Path(__file__).resolve().parents[2]
    is_there = (checkout / "tests" / "bench" / "report.py").is_file()
    if not is_there or importlib.util.find_spec("transformers") is None:
        raise NoCheckout(
            "the benchmarks need a checkout of the project with its development dependencies: "
            "pip install -e '.[dev]' there, and run that adavae bench"
        )
    sys.path.insert(0, str(checkout))
    importlib.import_module("tests.bench.report").main(
        [
            *("--shape", shape, "--rounds", str(rounds), "--weight-format", weight_format),
            *(["--only", only] if only else []),
            *["--peers"] * peers,
            *["--json"] * as_json,
        ]
    )
