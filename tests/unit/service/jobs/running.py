"""Supervisors and workers over stand-ins for training processes."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

from prometheus_client import CollectorRegistry

from adavae.model.training.readers.columns import Columns
from adavae.service.jobs.worker.supervisor import Supervisor
from adavae.service.jobs.worker.training_metrics import TrainingMetrics
from tests.unit.service.jobs import fake_child
from tests.unit.service.jobs.job_home import JobHome

DEADLINE_S = 60.0


class Files:
    """Uploaded data that nobody reads."""

    def path_of(self, file_id: str) -> Path:
        return Path("/uploads") / file_id

    def columns_of(self, file_id: str) -> Columns:  # noqa: ARG002 - all are alike
        return Columns()


def command(*behaviour: str) -> tuple[str, ...]:
    return (sys.executable, fake_child.__file__, *behaviour)


def supervisor(
    home: JobHome, *behaviour: str, registry: CollectorRegistry | None = None, **fields: float
) -> Supervisor:
    metrics = TrainingMetrics(registry or CollectorRegistry())
    return Supervisor(home.settings(**fields), home.claims, Files(), metrics, command=command(*behaviour))


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():
            await asyncio.sleep(0.005)
