"""The ``adavae`` command: START READING HERE for the command line.

Puts the commands of ``service.commands`` together and turns errors into exit codes: 2 for wrong usage, 1 for failure,
130 for Ctrl-C. Itself it prints only the one line that says what went wrong.
"""

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from adavae.model.errors import AdaVAEError, TrainingInterrupted
from adavae.service.commands import adapters, cluster, describe, jobs, runs, sharing
from adavae.service.commands.analogy import analogy
from adavae.service.commands.bench import bench
from adavae.service.commands.classify import classify
from adavae.service.commands.convert import convert
from adavae.service.commands.dashes import TextCommand
from adavae.service.commands.decode import decode
from adavae.service.commands.encode import encode
from adavae.service.commands.evaluate import evaluate
from adavae.service.commands.health import health
from adavae.service.commands.interpolate import interpolate
from adavae.service.commands.map import map_texts
from adavae.service.commands.pretrain import pretrain
from adavae.service.commands.reproduce import reproduce
from adavae.service.commands.serve import serve
from adavae.service.commands.terminal import (
    drop_unwritable_output,
    open_closed_streams,
    say,
    say_error,
    write_whatever_comes,
)
from adavae.service.commands.train import train
from adavae.service.commands.traverse import traverse
from adavae.service.commands.variants import variants
from adavae.service.commands.variations import variations
from adavae.service.commands.version import show, version
from adavae.service.commands.worker import worker
from adavae.service.settings import SettingsError, keep_few_kernels, let_threads_wait_briefly

EXIT_FAILURE = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130


def create_app() -> typer.Typer:
    """Every command on one screen."""
    app = typer.Typer(
        name="adavae",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(options)
    app.command()(serve)
    app.command()(worker)
    for operation in (encode, decode, interpolate, analogy, variations, traverse, classify):
        app.command(cls=TextCommand)(operation)
    app.command(name="map")(map_texts)
    for command in (train, evaluate):
        app.command()(command)
    sets = adapters.create_app()
    for command in (describe.describe, sharing.pull, sharing.push):
        sets.command()(command)
    app.add_typer(sets, name="adapters")
    app.add_typer(jobs.create_app(), name="jobs")
    app.add_typer(runs.create_app(), name="runs")
    app.add_typer(cluster.create_app(), name="cluster")
    app.command()(convert)
    for command in (variants, reproduce, pretrain, bench, health, version):
        app.command()(command)
    return app


def options(
    version: Annotated[
        bool, typer.Option("--version", help="Show the program's version and exit.", callback=show, is_eager=True)
    ] = False,
) -> None:
    """A frozen GPT-2 as a latent-variable model of sentences: encode, decode, interpolate, analogy, classify."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one command and ends the process with its exit code."""
    let_threads_wait_briefly()
    keep_few_kernels()
    open_closed_streams()
    write_whatever_comes()
    try:
        typer.main.get_command(create_app())(args=arguments, prog_name="adavae")
    except TrainingInterrupted as exc:
        say(str(exc))
        sys.exit(EXIT_INTERRUPTED)
    except (AdaVAEError, OSError) as exc:
        say_error(str(exc))
        drop_unwritable_output()
        sys.exit(EXIT_USAGE if isinstance(exc, SettingsError) else EXIT_FAILURE)
