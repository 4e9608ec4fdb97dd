"""``adavae worker``: trains what the service's users ask for, one job at a time."""

import asyncio
import signal
from typing import TYPE_CHECKING, Annotated

import typer

from adavae.service.commands.serve import CannotListen
from adavae.service.commands.terminal import say
from adavae.service.objects.open_objects import check_objects
from adavae.service.settings import Settings, ignored_variables, load_settings

if TYPE_CHECKING:
    from adavae.service.jobs.backbone_description import BackboneDescription
    from adavae.service.jobs.worker.training_metrics import TrainingMetrics

OnceOption = Annotated[bool, typer.Option("--once", help="Do the jobs that wait, then end.")]
MetricsPortOption = Annotated[
    int | None,
    typer.Option("--metrics-port", min=0, max=65535, help="Port of /metrics, on ADAVAE_HOST; none if left out."),
]


def worker(once: OnceOption = False, metrics_port: MetricsPortOption = None) -> None:
    """Train the jobs of the service that shares this volume (ADAVAE_DATA) and this Redis (ADAVAE_REDIS_URL).

    Ctrl-C or a termination signal finishes the step, keeps a checkpoint, and hands the job back.
    """
    import structlog
    from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server

    from adavae.service.jobs.backbone_description import describe_backbone
    from adavae.service.jobs.worker.gpus_for_processes import refuse_too_few_gpus
    from adavae.service.jobs.worker.training_metrics import TrainingMetrics
    from adavae.service.log import set_up_log

    settings = load_settings()
    set_up_log(settings)
    check_objects(settings)
    refuse_too_few_gpus(settings)
    if (ignored := ignored_variables()) is not None:
        structlog.get_logger("adavae.worker").warning(ignored)
    backbone = describe_backbone(settings)
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    metrics = TrainingMetrics(registry)
    if metrics_port is not None:
        try:
            start_http_server(metrics_port, settings.host, registry)
        except OSError as exc:
            raise CannotListen(
                f"cannot serve metrics on {settings.host} port {metrics_port}: {(exc.strerror or str(exc)).lower()}: "
                "choose another with --metrics-port, or leave it out"
            ) from exc
    asyncio.run(_work(settings, metrics, backbone, is_once=once))


async def _work(
    settings: Settings, metrics: "TrainingMetrics", backbone: "BackboneDescription", *, is_once: bool
) -> None:
    from adavae.service.jobs.data.shared_files import open_files
    from adavae.service.jobs.queue.open_queue import open_queue
    from adavae.service.jobs.records.open_records import open_jobs
    from adavae.service.jobs.worker.worker import Worker

    queue = open_queue(settings)
    worker = Worker(settings, open_files(settings, open_jobs(settings)), queue, metrics)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, worker.stop)
    say(
        f"adavae works on the jobs in {settings.shared or settings.jobs} over backbone {backbone.digest[:12]} (Ctrl-C "
        "ends it)"
    )
    try:
        await worker.run(is_once=is_once)
    finally:
        await queue.close()
