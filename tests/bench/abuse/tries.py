"""What a kind of abuse is: tries without end, each of which says what is wrong with how the service took it."""

import random
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.bench.abuse.stage import Stage

Act = Callable[[], str | None]
"""Does it; returns what did not hold, or None."""


@dataclass(frozen=True, slots=True)
class Try:
    """One of them; ``name`` says what was drawn."""

    name: str
    act: Act


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of abuse.

    Attributes:
        name: On the command line.
        told: In the table.
        tries: Tries without end, by the stage and the generator that everything is drawn from.
        num_tries: In a whole run.
        most_mib: How much the server's memory may grow by while this goes on.
        settings: Of the server, beside the stage's own.
        is_bystander_beside: Whether the small client makes requests meanwhile, which must all be answered.
    """

    name: str
    told: str
    tries: Callable[["Stage", random.Random], Generator[Try, None, None]]
    num_tries: int
    most_mib: int
    settings: Mapping[str, str] = field(default_factory=dict)
    is_bystander_beside: bool = True
