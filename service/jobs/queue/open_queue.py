"""Which queue the settings ask for."""

from adavae.service.jobs.queue.docket_queue import MEMORY, DocketQueue
from adavae.service.jobs.queue.queue import JobQueue
from adavae.service.settings import Settings


def open_queue(settings: Settings) -> JobQueue:
    """The queue that the settings ask for, not connected to anything yet."""
    url = settings.redis_url.get_secret_value() if settings.redis_url is not None else MEMORY
    return DocketQueue(url, lease_s=settings.lease_s)
