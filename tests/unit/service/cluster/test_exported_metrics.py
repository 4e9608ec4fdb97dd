"""A registry's figures as Ray's own."""

import asyncio
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram

exported_metrics = pytest.importorskip(
    "adavae.service.cluster.exported_metrics", reason="Ray is not installed (pip install 'adavae[ray]')"
)


class Gauge:
    """In place of Ray's, which needs a cluster."""

    def __init__(self, name: str, about: str, tag_keys: tuple[str, ...]) -> None:
        self.name, self.tag_keys = name, tag_keys
        self.seen: dict[tuple[str, ...], float] = {}
        assert about
        GAUGES[name] = self

    def set(self, value: float, tags: dict[str, str]) -> None:
        assert tuple(tags) == self.tag_keys
        self.seen[tuple(tags.values())] = value


GAUGES: dict[str, Gauge] = {}


@pytest.fixture(autouse=True)
def _in_place_of_rays(monkeypatch: pytest.MonkeyPatch) -> None:
    GAUGES.clear()
    monkeypatch.setattr(exported_metrics, "Gauge", Gauge)


def figures() -> tuple[CollectorRegistry, Counter, Histogram]:
    registry = CollectorRegistry()
    return (
        registry,
        Counter("asked_total", "Requests.", ["route"], registry=registry),
        Histogram("seconds", "Time.", buckets=(1.0,), registry=registry),
    )


def test_every_figure_goes_under_its_own_name_with_whose_it_is() -> None:
    registry, asked, seconds = figures()
    asked.labels(route="/encode").inc(3)
    seconds.observe(0.5)
    export: Any = exported_metrics.ExportedMetrics(registry, {"replica": "r1"})
    export.export()
    asked.labels(route="/encode").inc()
    export.export()
    assert GAUGES["asked_total"].seen == {("/encode", "r1"): 4.0}
    assert GAUGES["seconds_bucket"].seen == {("1.0", "r1"): 1.0, ("+Inf", "r1"): 1.0}
    assert GAUGES["seconds_sum"].seen == {("r1",): 0.5}
    assert set(GAUGES) == {"asked_total", "seconds_bucket", "seconds_count", "seconds_sum"}


def test_outside_of_a_cluster_nothing_is_exported() -> None:
    export = exported_metrics.ExportedMetrics(figures()[0], {})
    asyncio.run(asyncio.wait_for(export.run(), 5))
    assert GAUGES == {}
