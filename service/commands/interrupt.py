"""Ctrl-C: what is begun is brought to an end first, a training step, or rows that are being written."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event
from types import FrameType
from typing import Any, NoReturn


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


@contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """A termination signal is taken as Ctrl-C."""

    def stop(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001 - the signature of a signal handler
        raise KeyboardInterrupt

    before = _heeded(signal.SIGTERM)
    for number in before:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def to_its_end() -> Iterator[None]:
    """The first Ctrl-C or termination signal waits for the end of the block, a second one does not."""
    is_asked = False

    def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature of a signal handler
        nonlocal is_asked
        if is_asked:
            raise KeyboardInterrupt
        is_asked = True

    before = _heeded(signal.SIGINT, signal.SIGTERM)
    for number in before:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if is_asked:
        raise KeyboardInterrupt


def _heeded(*numbers: signal.Signals) -> dict[signal.Signals, Any]:
    """Handlers of those signals that this process was not started to ignore, as shells start what is in background."""
    found = {number: signal.getsignal(number) for number in numbers}
    return {number: handler for number, handler in found.items() if handler is not signal.SIG_IGN}
