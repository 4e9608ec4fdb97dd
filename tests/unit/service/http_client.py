"""A client of an app over a stub, in this process."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from starlette.testclient import TestClient

from adavae.service.jobs.protocol import TrainingOperations
from adavae.service.main import create_app
from tests.unit.service.stub_latent_service import StubLatentService, stub_settings


@contextlib.contextmanager
def client_of(
    latent: StubLatentService | None = None, training: TrainingOperations | None = None, **fields: Any
) -> Iterator[TestClient]:
    """The app with these settings, started and ready unless the stub says otherwise."""
    app = create_app(stub_settings(**fields), latent or StubLatentService(), training=training)
    with TestClient(app, base_url="http://localhost", raise_server_exceptions=True) as client:
        yield client


async def until(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    """Waits for a condition, with a deadline."""
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.002)
