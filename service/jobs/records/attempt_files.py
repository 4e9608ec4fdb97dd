"""The files of one attempt: its own directory, begun with the newest checkpoint of those before it.

    attempts/<n>/checkpoints/     hard links to what attempt n-1 had last, then its own
    attempts/<n>/metrics.jsonl    a copy, then its own lines
    attempts/<n>/lease.json       who works on it; its time of change is the last sign of life
    attempts/<n>/progress.json    the newest figures

An attempt writes into no other's directory, so that one which goes on after it lost its job disturbs nobody.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from adavae.model.storage.atomic import remove_leftovers, write_atomically
from adavae.model.training.checkpoint_name import step_of
from adavae.service.jobs.records.job_records import NewestWhole

CHECKPOINTS, METRICS, PROGRESS = "checkpoints", "metrics.jsonl", "progress.json"


def attempt_directory(job_directory: Path, attempt: int) -> Path:
    return job_directory / "attempts" / str(attempt)


def replace_progress(directory: Path, content: bytes) -> None:
    """Replaces an attempt's figures; they need not survive a power cut, so nobody waits for the disk."""
    temporary = directory / ".writing-progress"
    temporary.write_bytes(content)
    temporary.replace(directory / PROGRESS)


def newest_step(job_directory: Path) -> int:
    """How far any attempt's checkpoints go, by their names; -1 where there is none."""
    return max((_step(path) for _, path in _checkpoints(job_directory)), default=-1)


def inherit(job_directory: Path, attempt: int, newest_whole: NewestWhole) -> Path | None:
    """Begins an attempt's directory with the newest whole checkpoint of those before it, and its metrics.

    Of attempts before that, the checkpoints go.

    Args:
        job_directory: Of the job.
        attempt: The number of the new one.
        newest_whole: Finds the newest undamaged checkpoint in a directory of them.

    Returns:
        The checkpoint that the attempt goes on from; None where there is none.
    """
    new = attempt_directory(job_directory, attempt)
    new.mkdir(parents=True, exist_ok=True)
    for earlier in range(attempt - 1, 0, -1):
        directory = attempt_directory(job_directory, earlier)
        checkpoint = newest_whole(directory / CHECKPOINTS)
        if checkpoint is None:
            continue
        if (directory / METRICS).is_file():
            write_atomically(new / METRICS, (directory / METRICS).read_bytes())
        (new / CHECKPOINTS).mkdir(exist_ok=True)
        link(checkpoint, new / CHECKPOINTS / checkpoint.name)
        for older in range(earlier - 1, 0, -1):
            shutil.rmtree(attempt_directory(job_directory, older) / CHECKPOINTS, ignore_errors=True)
        return checkpoint
    return None


def discard_checkpoints(job_directory: Path) -> None:
    """Makes room when a job is finished: its attempts keep their metrics only."""
    remove_leftovers(job_directory)
    for directory in _attempts(job_directory):
        remove_leftovers(directory)
        shutil.rmtree(directory / CHECKPOINTS, ignore_errors=True)


def link(source: Path, destination: Path) -> None:
    """A second name for a file that is never changed in place; a copy where the disk has no hard links."""
    try:
        os.link(source, destination)
    except FileExistsError:
        return
    except OSError:
        write_atomically(destination, source.read_bytes())


def _attempts(job_directory: Path) -> list[Path]:
    return [path for path in _listed(job_directory / "attempts") if path.is_dir()]


def _checkpoints(job_directory: Path) -> Iterator[tuple[Path, Path]]:
    for directory in _attempts(job_directory):
        for path in _listed(directory / CHECKPOINTS):
            if step_of(path.name) is not None:
                yield directory, path


def _listed(directory: Path) -> list[Path]:
    """What is in a directory; nothing where there is none, or another process has just removed it."""
    try:
        return list(directory.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _step(path: Path) -> int:
    step = step_of(path.name)
    return -1 if step is None else step
