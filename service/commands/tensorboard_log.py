"""Figures of a run as TensorBoard reads them: an event file, scalars alone, without TensorBoard's packages.

A file is a row of records, each a protocol buffer ``tensorflow.Event``:

    length, uint64 | its checksum, uint32 | the message | its checksum, uint32      (little-endian)

Source: the TFRecord format, https://www.tensorflow.org/tutorials/load_data/tfrecord; event.proto and summary.proto of
TensorBoard; CRC-32C, RFC 3720 appendix B.4.
"""

import socket
import struct
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_VARINT, _DOUBLE, _BYTES, _FLOAT = 0, 1, 2, 5  # wire types
_POLYNOMIAL, _MASK_DELTA = 0x82F63B78, 0xA282EAD8


class TensorboardLog:
    """One run's event file in a directory that ``tensorboard --logdir`` is given."""

    def __init__(self, directory: Path) -> None:
        """Makes the directory and a new file in it; what earlier parts of the run wrote stays beside it."""
        directory.mkdir(parents=True, exist_ok=True)
        begun = time.time()
        self.path = directory / f"events.out.tfevents.{begun:.0f}.{socket.gethostname()}.{time.time_ns() % 10**9}"
        self.path.write_bytes(record(_field(1, _DOUBLE, begun) + _field(3, _BYTES, b"brain.Event:2")))

    def add(self, step: int, scalars: Mapping[str, float]) -> None:
        """The figures of one step."""
        values = b"".join(
            _field(1, _BYTES, _field(1, _BYTES, tag.encode()) + _field(2, _FLOAT, value))
            for tag, value in scalars.items()
        )
        event = _field(1, _DOUBLE, time.time()) + _field(2, _VARINT, step) + _field(5, _BYTES, values)
        with self.path.open("ab") as file:
            file.write(record(event))


_TAGS = {
    "loss": "loss/training",
    "validation_loss": "loss/validation",
    "reconstruction_nats": "nats/reconstruction",
    "kl_nats": "nats/kl",
    "head_nats": "nats/head",
    "score": "criterion/validation",
    "best_score": "criterion/best",
    "beta": "schedule/beta",
    "learning_rate": "schedule/learning_rate",
    "tokens_per_s": "speed/tokens_per_second",
}


def scalars(figures: Mapping[str, Any]) -> dict[str, float]:
    """Those of a run's figures that are shown, by what TensorBoard calls them."""
    return {tag: float(figures[name]) for name, tag in _TAGS.items() if figures.get(name) is not None}


def record(message: bytes) -> bytes:
    """A message between its length and checksums."""
    length = struct.pack("<Q", len(message))
    return length + _masked(length) + message + _masked(message)


def _masked(data: bytes) -> bytes:
    checksum = crc32c(data)
    return struct.pack("<I", ((checksum >> 15 | checksum << 17) + _MASK_DELTA) & 0xFFFFFFFF)


def crc32c(data: bytes) -> int:
    """The checksum of Castagnoli's polynomial."""
    checksum = 0xFFFFFFFF
    for byte in data:
        checksum ^= byte
        for _ in range(8):
            checksum = checksum >> 1 ^ (_POLYNOMIAL if checksum & 1 else 0)
    return checksum ^ 0xFFFFFFFF


def _field(number: int, kind: int, value: float | bytes) -> bytes:
    """A field of a protocol buffer."""
    key = _varint(number << 3 | kind)
    if isinstance(value, bytes):
        return key + _varint(len(value)) + value
    if kind == _VARINT:
        return key + _varint(int(value))
    return key + struct.pack("<d" if kind == _DOUBLE else "<f", value)


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])
