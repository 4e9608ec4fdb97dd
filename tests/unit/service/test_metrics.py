"""What GET /metrics shows of adapter sets and of the process."""

import asyncio

from starlette.types import Message, Receive, Scope, Send

from adavae.service.http.request_log import RequestLog
from adavae.service.metrics import Metrics
from adavae.service.served_set import tell_served


def counted(metrics: Metrics) -> dict[str, float]:
    """Requests by adapter set."""
    samples = [sample for family in metrics.registry.collect() for sample in family.samples]
    return {sample.labels["adapter"]: sample.value for sample in samples if sample.name == "adavae_requests_total"}


def answer(metrics: Metrics, name: str | None) -> None:
    """One request through the middleware; the set is found in a task of its own, as routes do it."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001
        async def work() -> None:
            if name is not None:
                tell_served(name)

        await asyncio.ensure_future(work())
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        del message

    scope: Scope = {"type": "http", "method": "POST", "path": "/encode", "headers": [], "state": {"request_id": "a"}}
    asyncio.run(RequestLog(app, metrics=metrics)(scope, receive, send))


def test_requests_are_counted_by_the_set_that_answers_them() -> None:
    metrics = Metrics()
    for name in ("yelp", "sst2", "yelp", None):
        answer(metrics, name)
    assert counted(metrics) == {"yelp": 2, "sst2": 1, "": 1}


def test_very_many_sets_are_counted_together() -> None:
    """Whoever may publish sets could otherwise make the answer as long as they like."""
    metrics = Metrics()
    for number in range(25):
        answer(metrics, f"set-{number}")
    answer(metrics, "set-3")
    found = counted(metrics)
    assert (len(found), found["other"], found["set-3"]) == (21, 5, 2)


def test_the_process_is_measured() -> None:
    names = {sample.name for family in Metrics().registry.collect() for sample in family.samples}
    assert {"process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds"} <= names
