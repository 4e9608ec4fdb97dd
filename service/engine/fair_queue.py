"""A queue of rows of many requests and clients, in which nobody is ahead of others for having come with more.

Start-time fair queueing between clients: the next row is one of the client that has been given least since it came.
Whoever comes begins level with those who are there, and nobody is paid back for having been away. Of a client's own
requests the one goes first that is due first. A short one is due sooner than a long one that came with it, so that it
overtakes; but whoever comes after a request was due waits behind it, however short.
"""

import heapq
import math
from collections import deque
from collections.abc import Callable, Iterator
from itertools import count
from typing import Generic, Protocol, TypeVar


class Request(Protocol):
    """What the rows of one request share: whose they are, and until when shorter ones may go first, in seconds."""

    def __hash__(self) -> int: ...

    @property
    def client(self) -> str: ...

    @property
    def due(self) -> float: ...


class Queued(Protocol):
    @property
    def ticket(self) -> Request: ...


Row = TypeVar("Row", bound=Queued)


class _Turns:
    """Whose turn it is among clients that wait: whoever has been given least."""

    def __init__(self) -> None:
        self._given: list[tuple[float, int, str]] = []  # a heap; numbers keep the order of equals
        self._numbers = count()
        self._now = 0.0  # what the one whose turn was last had been given

    def enter(self, client: str) -> None:
        heapq.heappush(self._given, (self._now, next(self._numbers), client))

    def next(self) -> str:
        return self._given[0][2]

    def give(self, cost: float, *, stays: bool) -> None:
        """Counts what the one whose turn it is is given; it leaves unless it ``stays``."""
        given, _, client = heapq.heappop(self._given)
        self._now = given
        if stays:
            heapq.heappush(self._given, (given + cost, next(self._numbers), client))

    def leave(self) -> None:
        """Takes out the one whose turn it is, which is given nothing."""
        heapq.heappop(self._given)

    def set_aside(self) -> tuple[float, int, str]:
        return heapq.heappop(self._given)

    def put_back(self, entry: tuple[float, int, str]) -> None:
        heapq.heappush(self._given, entry)

    def __bool__(self) -> bool:
        return bool(self._given)


class _Line(Generic[Row]):
    """One client's rows, by request: a request's rows one after the other, the request that is due first at once."""

    def __init__(self) -> None:
        self.requests: dict[Request, deque[Row]] = {}
        self.num_rows = 0
        self._due: list[tuple[float, int, Request]] = []  # a heap whose first has rows; numbers keep equals' order
        self._numbers = count()

    @property
    def first_due(self) -> float:
        return self._due[0][0] if self._due else math.inf

    def put(self, row: Row) -> None:
        if row.ticket not in self.requests:
            self.requests[row.ticket] = deque()
            heapq.heappush(self._due, (row.ticket.due, next(self._numbers), row.ticket))
        self.requests[row.ticket].append(row)
        self.num_rows += 1

    def take(self) -> Row:
        ticket = self._due[0][2]
        rows = self.requests[ticket]
        row = rows.popleft()
        self.num_rows -= 1
        if not rows:
            del self.requests[ticket]
            self._skip_those_without_rows()
        return row

    def forget(self, ticket: Request) -> int:
        """Takes a request's rows out, and says how many they were."""
        num_rows = len(self.requests.pop(ticket, ()))
        self.num_rows -= num_rows
        self._skip_those_without_rows()
        return num_rows

    def _skip_those_without_rows(self) -> None:
        while self._due and self._due[0][2] not in self.requests:
            heapq.heappop(self._due)


class FairQueue(Generic[Row]):
    """Used from one thread; ``num_of`` and ``len`` may be asked from another."""

    def __init__(self, cost_of: Callable[[Row], float]) -> None:
        """``cost_of`` says how much work a row is, in any unit."""
        self._cost_of = cost_of
        self._lines: dict[str, _Line[Row]] = {}
        self._turns = _Turns()
        self._num_rows = 0

    def __len__(self) -> int:
        return self._num_rows

    def __iter__(self) -> Iterator[Row]:
        """Every row, in no order that means anything."""
        for line in self._lines.values():
            for rows in line.requests.values():
                yield from rows

    def num_of(self, client: str) -> int:
        """Rows of one client."""
        line = self._lines.get(client)
        return 0 if line is None else line.num_rows

    @property
    def first_due(self) -> float:
        """When the first of its requests is due; infinite where there is none."""
        return min((line.first_due for line in self._lines.values()), default=math.inf)

    def put(self, row: Row) -> None:
        client = row.ticket.client
        if client not in self._lines:
            self._lines[client] = _Line()
            self._turns.enter(client)
        self._lines[client].put(row)
        self._num_rows += 1

    def forget(self, ticket: Request) -> None:
        """Takes a request's rows out, for which nobody is charged; there may be none.

        A client that has no more keeps its turn until that comes: it gains nothing by coming again at once.
        """
        if (line := self._lines.get(ticket.client)) is not None:
            self._num_rows -= line.forget(ticket)

    def take(self, may: Callable[[str], bool] = lambda _client: True) -> Row | None:
        """The next row of a client that may have one; None where there is none."""
        aside = []
        while self._turns:
            client = self._turns.next()
            if not self._lines[client].num_rows:
                self._turns.leave()
                del self._lines[client]
            elif may(client):
                break
            else:
                aside.append(self._turns.set_aside())
        row = self._take() if self._turns else None
        for entry in aside:
            self._turns.put_back(entry)
        return row

    def _take(self) -> Row:
        client = self._turns.next()
        line = self._lines[client]
        row = line.take()
        self._turns.give(self._cost_of(row), stays=line.num_rows > 0)
        if not line.num_rows:
            del self._lines[client]
        self._num_rows -= 1
        return row
