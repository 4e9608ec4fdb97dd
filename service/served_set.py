"""Which adapter set answers a request, told upward: to the middleware that counts and traces it."""

from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(slots=True)
class ServedSet:
    """Empty until a set is found for the request; stays so where a request is for none."""

    name: str = ""


SERVED: ContextVar[ServedSet | None] = ContextVar("adavae_served_set", default=None)


def tell_served(name: str) -> None:
    """Says which set the request of this task, if there is one, is answered by."""
    if (served := SERVED.get()) is not None:
        served.name = name
