"""Checkpoints of an interrupted run: a command resumes or discards them only when told to."""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from adavae.model.errors import CheckpointMismatch, TrainingInterrupted, TrainingProcessLost

_End = TypeVar("_End", bound=TrainingInterrupted | TrainingProcessLost)

ResumeOption = Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint of an interrupted run.")]
RestartOption = Annotated[bool, typer.Option("--restart", help="Throw an interrupted run's checkpoint away.")]


def claim(directory: Path, *, resume: bool, restart: bool) -> None:
    """Makes sure that a run neither overwrites a checkpoint unasked nor resumes one that does not exist.

    Nothing is removed: a checkpoint that is to be thrown away stays until the new run begins (``discarding``).

    Raises:
        typer.BadParameter: Both options are given.
        CheckpointMismatch: There is a checkpoint and neither option is given, or there is none to resume.
    """
    if resume and restart:
        raise typer.BadParameter("--resume goes on with an interrupted run, --restart throws it away: give one of them")
    checkpoints = directory / "checkpoints"
    has_checkpoint = checkpoints.is_dir() and any(checkpoints.iterdir())
    if has_checkpoint and not (resume or restart):
        raise CheckpointMismatch(
            f"{directory} holds the checkpoint of an interrupted run: add --resume to go on with it, or --restart to "
            "throw it away"
        )
    if resume and not has_checkpoint:
        raise CheckpointMismatch(f"{directory} holds no checkpoint to go on from: leave --resume out")


def discarding(directory: Path, *, restart: bool) -> Callable[[], None]:
    """What a run does once all is checked, before its first step: with ``restart``, old checkpoints go."""
    return partial(release, directory) if restart else lambda: None


def release(directory: Path) -> None:
    """Removes a run's checkpoints."""
    shutil.rmtree(directory / "checkpoints", ignore_errors=True)


def with_remedy(end: _End) -> _End:
    """The same error, with how to continue."""
    return type(end)(f"{end}; run the same command with --resume to go on")
