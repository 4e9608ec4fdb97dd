"""Room in the queue that one request was promised, and what of it is still open while its rows come and go."""

from collections.abc import Iterator
from typing import Any

from adavae.service.engine.ticket import Ticket


class Reservation:
    """A promise of the queue to one request, whose parts come one after the other.

    What a part has waiting in the queue is counted there, and not a second time here.

    Attributes:
        client: Whose request it is.
        to_decode: Rows that are to come and have not been decoded yet.
        at_once: Rows of any part that may follow; kept for it until the request's end.
    """

    def __init__(self, client: str, to_decode: int, at_once: int) -> None:
        self.client, self.to_decode, self.at_once = client, to_decode, at_once
        self._encoding: Ticket[Any] | None = None
        self._decoding: Ticket[Any] | None = None

    @property
    def num_open(self) -> int:
        """Rows that may be queued now; all of a promise but what waits already."""
        encoding, decoding = _num_waiting(self._encoding), _num_waiting(self._decoding)
        return max(0, self.to_decode - encoding, self.at_once - encoding - decoding)

    def parts(self, num_rows: int) -> Iterator[slice]:
        """Cuts rows that come next into what may wait at once; where nothing is open, into one part."""
        most = self.num_open or max(1, num_rows)
        for start in range(0, num_rows, most):
            yield slice(start, start + most)

    def encode(self, ticket: Ticket[Any]) -> None:
        """These rows are queued, and leave room for as many again."""
        self._encoding = ticket

    def decode(self, ticket: Ticket[Any], num_rows: int) -> None:
        """These rows are queued, and will not come again."""
        self._decoding = ticket
        self.to_decode = max(0, self.to_decode - num_rows)

    def end(self) -> None:
        """Whatever comes now has to ask for room."""
        self.to_decode = self.at_once = 0


def _num_waiting(ticket: Ticket[Any] | None) -> int:
    return 0 if ticket is None else ticket.num_waiting
