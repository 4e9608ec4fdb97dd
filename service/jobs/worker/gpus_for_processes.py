"""Whether there is a GPU for each process that shares a job: told to whoever sets that, before any job is begun.

Users of the service can do nothing about it, and their jobs would fail one after the other.
"""

import math
import subprocess
import sys
from collections.abc import Callable

from adavae.service.settings import Settings, SettingsError, environment_of_child

_COUNT = "import torch; print(torch.cuda.device_count())"
_PATIENCE_S = 120.0


def visible_gpus() -> int:
    """Those that a training process would find on this machine; asked in a process of its own, which imports torch."""
    command = (sys.executable, "-c", _COUNT)
    try:
        done = subprocess.run(
            command, env=environment_of_child(), capture_output=True, text=True, timeout=_PATIENCE_S, check=True
        )
        return int(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):  # the job's own process will say why
        return 0


def refuse_too_few_gpus(settings: Settings, count: Callable[[], int] = visible_gpus) -> None:
    """For who trains on this machine; without any GPU the processes share the cores.

    Raises:
        SettingsError: A job is to have more processes than there are GPUs.
    """
    if not _wants_gpus(settings):
        return
    num = count()
    if 0 < num < settings.training_processes:
        raise SettingsError(
            f"ADAVAE_TRAINING_PROCESSES is {settings.training_processes}, and {num} GPUs can be seen here, one a "
            f"process: set it to {num} at most, let more be seen (CUDA_VISIBLE_DEVICES), or train on the CPU "
            "(ADAVAE_DEVICE=cpu)"
        )


def refuse_too_few_reserved_gpus(settings: Settings) -> None:
    """For who trains on a cluster, where a job sees the GPUs that it has reserved; raises SettingsError."""
    num = math.ceil(settings.training_gpus)
    if _wants_gpus(settings) and 0 < num < settings.training_processes:
        raise SettingsError(
            f"ADAVAE_TRAINING_PROCESSES is {settings.training_processes}, and a job reserves {num} GPUs "
            f"(ADAVAE_TRAINING_GPUS is {settings.training_gpus:g}), one for each process: set both alike"
        )


def _wants_gpus(settings: Settings) -> bool:
    return settings.training_processes > 1 and settings.device != "cpu"
