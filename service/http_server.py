"""uvicorn's server, which tells at once that it is to end."""

from collections.abc import Callable
from types import FrameType

import uvicorn


class HttpServer(uvicorn.Server):
    """Calls ``on_exit`` at the first signal, while requests still run: the application's own end comes after them."""

    def __init__(self, config: uvicorn.Config, on_exit: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_exit = on_exit

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._on_exit()
        super().handle_exit(sig, frame)
