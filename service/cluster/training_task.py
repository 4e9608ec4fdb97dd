"""One attempt at a training job as a Ray task: a worker, as ``adavae worker`` has it, that takes up this job alone.

Claim, lease, checkpoints and publication are the worker's; Ray gives it a machine with room. Ray's cancelling of the
task, or a termination signal, finishes the step, keeps a checkpoint and hands the job back.
"""

import asyncio
import signal
from collections.abc import Mapping
from typing import Any

from prometheus_client import CollectorRegistry

from adavae.service.cluster.arguments import ClusterArguments
from adavae.service.cluster.exported_metrics import ExportedMetrics
from adavae.service.jobs.data.shared_files import open_files
from adavae.service.jobs.queue.in_process import InProcessQueue
from adavae.service.jobs.records.claims import Lease
from adavae.service.jobs.records.open_records import open_jobs
from adavae.service.jobs.worker.lookout import Waiting
from adavae.service.jobs.worker.training_metrics import TrainingMetrics
from adavae.service.jobs.worker.worker import Worker
from adavae.service.log import set_up_log
from adavae.service.settings import Settings

_LABELS = {"replica": "training"}


def train(arguments: Mapping[str, Any], job_id: str, abandoned: Lease | None) -> str | None:
    """Works on a job to the end of an attempt.

    Args:
        arguments: Of ``ClusterArguments``.
        job_id: Of a queued job, or of one that nobody works on any more.
        abandoned: The lease of the latter.

    Returns:
        The outcome's name; None where the job could not be claimed.

    Raises:
        SettingsError: The settings are wrong on this machine.
    """
    settings = ClusterArguments(**arguments).settings_here()
    set_up_log(settings)
    return asyncio.run(_train(settings, Waiting(job_id, abandoned)))


async def _train(settings: Settings, waiting: Waiting) -> str | None:
    registry = CollectorRegistry()
    files = open_files(settings, open_jobs(settings))
    worker = Worker(settings, files, InProcessQueue(), TrainingMetrics(registry))
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, worker.stop)
    exporting = asyncio.create_task(ExportedMetrics(registry, _LABELS).run())
    try:
        outcome = await worker.take(waiting)
    finally:
        exporting.cancel()
        await asyncio.wait({exporting})
    return None if outcome is None else str(outcome)
