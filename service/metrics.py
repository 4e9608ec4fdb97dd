"""What GET /metrics shows: one registry per app, so that two apps in one process never share a number."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_REQUEST = ("method", "route", "status", "adapter")
_MAX_ADAPTERS, _OTHERS = 20, "other"
_TOKENS = (8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)


class Metrics:
    """Counters, gauges and histograms of one service; each part sets its own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self._adapters: set[str] = set()
        ProcessCollector(registry=registry)
        self.requests_total = Counter(
            "adavae_requests_total", "Requests answered, by adapter set.", _REQUEST, registry=registry
        )
        self.request_seconds = Histogram(
            "adavae_request_seconds",
            "Seconds until a request was answered, streams to their end.",
            _REQUEST,
            buckets=_SECONDS,
            registry=registry,
        )
        self.requests_in_flight = Gauge("adavae_requests_in_flight", "Requests being answered.", registry=registry)
        self.queue_rows = Gauge("adavae_queue_rows", "Rows that wait for the device.", registry=registry)
        self.queue_wait_seconds = Histogram(
            "adavae_queue_wait_seconds", "Seconds a row waited.", buckets=_SECONDS, registry=registry
        )
        self.encode_batch_rows = Histogram(
            "adavae_encode_batch_rows", "Rows of an encode micro-batch.", buckets=_ROWS, registry=registry
        )
        self.encode_batch_tokens = Histogram(
            "adavae_encode_batch_tokens", "Tokens of an encode micro-batch.", buckets=_TOKENS, registry=registry
        )
        self.decode_rows = Gauge("adavae_decode_rows", "Rows being decoded.", registry=registry)
        self.decode_steps_total = Counter("adavae_decode_steps_total", "Decode steps taken.", registry=registry)
        self.decode_tokens_total = Counter("adavae_decode_tokens_total", "Tokens decoded.", registry=registry)
        self.cache_hits_total = Counter("adavae_cache_hits_total", "Encodings found in the cache.", registry=registry)
        self.cache_misses_total = Counter("adavae_cache_misses_total", "Encodings not in the cache.", registry=registry)
        self.cache_errors_total = Counter(
            "adavae_cache_errors_total", "Look-ups and writes that failed.", registry=registry
        )
        self.adapter_loads_total = Counter("adavae_adapter_loads_total", "Adapter sets loaded.", registry=registry)
        self.adapter_evictions_total = Counter(
            "adavae_adapter_evictions_total", "Adapter sets evicted.", registry=registry
        )
        self.adapter_failures_total = Counter(
            "adavae_adapter_failures_total", "Adapter sets refused.", registry=registry
        )
        self.engine_restarts_total = Counter(
            "adavae_engine_restarts_total", "Device threads restarted.", registry=registry
        )

    def adapter_label(self, name: str) -> str:
        """What a set is called in labels: the first sets that answer have their names, so that there are never many."""
        if name in self._adapters or len(self._adapters) < _MAX_ADAPTERS:
            self._adapters.add(name)
            return name
        return _OTHERS
