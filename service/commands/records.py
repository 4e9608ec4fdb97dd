"""Decoded texts as the records that commands write."""

from collections.abc import Sequence

from adavae.model.results import DecodedText
from adavae.service.commands.terminal import Record


def decoded_record(index: int, decoded: DecodedText, *, with_z: bool, **fields: object) -> Record:
    """One text as a record; z and its typicality only if requested."""
    record: Record = {"index": index, **fields, "text": decoded.text, "tokens": decoded.num_tokens}
    record["finish_reason"] = decoded.finish_reason
    return record | {"z": decoded.z.tolist(), "typicality": decoded.typicality} if with_z else record


def numbers_of(record: Record, name: str) -> Sequence[float]:
    """A record's vector."""
    vector = record[name]
    assert isinstance(vector, list)
    return vector
