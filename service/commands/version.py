"""``adavae version``: what is installed."""

import platform
from importlib.metadata import version as installed_version

import typer

from adavae.service.commands.options import JsonOption
from adavae.service.commands.terminal import Output, Record
from adavae.service.settings import load_settings


def version(as_json: JsonOption = False) -> None:
    """Versions of the program and of what it computes with, and where it looks for weights."""
    settings = load_settings()
    record: Record = {
        "adavae": installed_version("adavae"),
        "python": platform.python_version(),
        "torch": installed_version("torch"),
        "backbone": settings.backbone_source,
        "default_adapter": settings.default_adapter,
        "weights": str(settings.weights),
        "data": str(settings.shared or settings.data),
    }
    Output.of(as_json).write_object(record)


def show(is_asked: bool) -> None:
    """``adavae --version``: one line, as of other programs."""
    if is_asked:
        typer.echo(f"adavae {installed_version('adavae')}")
        raise typer.Exit
