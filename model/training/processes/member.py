"""A process of a training run that does not lead it: it computes its share of every step, and writes nothing.

Started by ``members``, which gives it its ``Place`` as the one argument, and its standard input for a sign of life.
"""

import os
import sys
from threading import Thread

import torch

from adavae.model.errors import TrainingInterrupted, TrainingProcessLost
from adavae.model.training.loop import follow
from adavae.model.training.processes.group import SeveralProcesses
from adavae.model.training.processes.handed_run import HandedRun, Place
from adavae.model.training.processes.members import READY


def main(argument: str) -> int:
    """Returns the exit code: 0 when the run ended, or was asked to stop."""
    Thread(target=_end_with_the_leader, daemon=True).start()
    place = Place.from_json(argument)
    torch.set_num_threads(place.num_threads)
    run = HandedRun.read(place.directory, torch.device(place.device))
    sys.stdout.buffer.write(READY)
    sys.stdout.buffer.flush()
    try:
        follow(run, SeveralProcesses.join(place.meeting, place.rank, place.size, timeout_s=place.timeout_s))
    except TrainingInterrupted:
        return 0
    except TrainingProcessLost:
        return 1  # the leader tells of it, or is gone
    return 0


def _end_with_the_leader() -> None:
    """Its end of our standard input closes with it, however it ends; not every wait would notice."""
    os.read(sys.stdin.fileno(), 1)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
