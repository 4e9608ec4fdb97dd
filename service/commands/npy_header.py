"""What the header of a ``.npy`` file says, and whatever is wrong with one as a single kind of error."""

import tokenize
from dataclasses import dataclass
from typing import IO, Any

MARK = b"\x93NUMPY"
_FAULTS = (
    ValueError,
    EOFError,
    SyntaxError,
    TypeError,
    OverflowError,
    RecursionError,
    MemoryError,
    tokenize.TokenError,
)


@dataclass(frozen=True, slots=True)
class NpyHeader:
    """Of an array.

    Attributes:
        shape: As it stands there: numbers may be negative, and larger than the file.
        dtype: numpy's.
        is_by_columns: Columns lie one behind the other, not rows.
        start: Where the numbers begin.
    """

    shape: tuple[int, ...]
    dtype: Any
    is_by_columns: bool
    start: int


def read_header(file: IO[bytes]) -> NpyHeader:
    """Reads it from the beginning of ``file``.

    Raises:
        ValueError: There is none, it breaks off, or it holds something else than the header of an array.
    """
    import numpy as np

    file.seek(0)
    if file.read(len(MARK)) != MARK:
        raise ValueError("it does not begin as one")
    file.seek(0)
    try:
        version = np.lib.format.read_magic(file)
        if version == (1, 0):
            shape, is_by_columns, dtype = np.lib.format.read_array_header_1_0(file)
        elif version == (2, 0):
            shape, is_by_columns, dtype = np.lib.format.read_array_header_2_0(file)
        else:
            raise ValueError(f"it has version {version[0]}.{version[1]}")
    except _FAULTS as exc:
        raise ValueError(f"its header is broken: {exc}") from exc
    return NpyHeader(shape, dtype, is_by_columns, file.tell())
