"""Ctrl-C during training: finish the step, keep the checkpoint, then stop."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event
from types import FrameType


@contextmanager
def stop_on_signal() -> Iterator[Callable[[], bool]]:
    """Yields a function that says whether to stop: after Ctrl-C or a termination signal.

    A second signal ends the process at once, as usual.
    """
    is_stopping = Event()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature of a signal handler
        is_stopping.set()
        restore()

    for number in before:
        signal.signal(number, stop)
    try:
        yield is_stopping.is_set
    finally:
        restore()
