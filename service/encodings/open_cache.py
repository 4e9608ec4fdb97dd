"""Which encoding cache the settings ask for: Redis, this process's memory, or none."""

from adavae.service.encodings.cache import EncodingCache, NoCache
from adavae.service.encodings.memory_cache import MemoryCache
from adavae.service.encodings.redis_cache import RedisCache
from adavae.service.settings import Settings


def open_cache(settings: Settings) -> EncodingCache:
    """The cache, not connected to anything yet."""
    if settings.cache_bytes == 0:
        return NoCache()
    if settings.redis_url is None:
        return MemoryCache(settings.cache_bytes)
    return RedisCache(
        settings.redis_url.get_secret_value(),
        ttl_s=settings.cache_ttl_s,
        timeout_ms=settings.cache_timeout_ms,
        secret=settings.cache_secret.get_secret_value().encode(),
    )
