"""Token ids of many texts in four bytes each: all that training keeps of a dataset."""

from array import array
from collections.abc import Iterable, Sequence
from typing import overload


class TokenRows(Sequence[Sequence[int]]):
    """The rows of a dataset, one after the other in one piece of memory."""

    def __init__(self, rows: Iterable[Sequence[int]] = ()) -> None:
        self._ids, self._ends = array("i"), array("q")
        for row in rows:
            self.append(row)

    def append(self, row: Sequence[int]) -> None:
        """Adds one text."""
        self._ids.extend(row)
        self._ends.append(len(self._ids))

    @property
    def lengths(self) -> "array[int]":
        """Number of tokens of each row."""
        return array("i", (end - self._start(row) for row, end in enumerate(self._ends)))

    @property
    def num_bytes(self) -> int:
        return self._ids.itemsize * len(self._ids) + self._ends.itemsize * len(self._ends)

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, place: int) -> Sequence[int]: ...

    @overload
    def __getitem__(self, place: slice) -> list[Sequence[int]]: ...

    def __getitem__(self, place: int | slice) -> Sequence[int] | list[Sequence[int]]:
        if isinstance(place, slice):
            return [self[row] for row in range(*place.indices(len(self)))]
        row = range(len(self))[place]  # raises IndexError beyond the end, and resolves negative places
        return self._ids[self._start(row) : self._ends[row]].tolist()

    def _start(self, row: int) -> int:
        return self._ends[row - 1] if row else 0
