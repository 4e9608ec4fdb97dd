"""Which queue the settings ask for."""

from adavae.service.jobs.queue.in_process import InProcessQueue
from adavae.service.jobs.queue.queue import JobQueue
from adavae.service.jobs.queue.redis_streams import RedisStreams
from adavae.service.settings import Settings


def open_queue(settings: Settings) -> JobQueue:
    """The queue that the settings ask for, not connected to anything yet; raises ConfigError for a wrong URL."""
    if settings.queue_url is None:
        return InProcessQueue()
    return RedisStreams(settings.queue_url.get_secret_value(), lease_s=settings.lease_s)
