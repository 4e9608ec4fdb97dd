"""A real server over a stub, in a thread of its own."""

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

from adavae.service.commands.serve import open_listener
from adavae.service.http.connection_limits import ConnectionLimits
from adavae.service.http.http_server import HttpServer, http_config
from adavae.service.jobs.protocol import TrainingOperations
from adavae.service.main import create_app
from tests.unit.service.stub_latent_service import StubLatentService, stub_settings


@contextlib.contextmanager
def serving(latent: StubLatentService, training: TrainingOperations | None = None, **fields: Any) -> Iterator[str]:
    """The server's URL; it listens before it is entered and has ended when it is left."""
    settings = stub_settings(**fields)
    with open_listener(settings) as listener:
        app = create_app(settings, latent, training=training)
        server = HttpServer(http_config(app, shutdown_s=10), lambda: None, ConnectionLimits.of(settings))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(30)
            assert not thread.is_alive()
