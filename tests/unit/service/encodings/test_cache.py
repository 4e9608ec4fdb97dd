"""Keys that tell everything apart, values that are right or nothing, and a memory cache that keeps its bound."""

import asyncio
import tracemalloc

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from adavae.service.encodings.cache import (
    KEY_LENGTH,
    KEY_PREFIX,
    NoCache,
    encoding_key,
    pack,
    packed_size,
    place_of,
    unpack,
)
from adavae.service.encodings.memory_cache import MemoryCache
from adavae.service.results import Encoding

_PARTS = {
    "backbone_digest": "b" * 64,
    "adapter_digest": "a" * 64,
    "max_tokens": 64,
    "is_truncating": False,
    "text": "x",
}
_finite = st.floats(width=32, allow_nan=False, allow_infinity=False)


def _encoding(latent_size: int = 4, *, start: float = 0.0) -> Encoding:
    mu = np.arange(latent_size, dtype=np.float32) + np.float32(start)
    return Encoding(mu, -mu, num_tokens=3, is_truncated=False)


def _key(text: str) -> str:
    return encoding_key(backbone_digest="b", adapter_digest="a", max_tokens=64, is_truncating=False, text=text)


def _is_same(one: Encoding | None, other: Encoding) -> bool:
    return (
        one is not None
        and one.mu.tobytes() == other.mu.tobytes()
        and one.logvar.tobytes() == other.logvar.tobytes()
        and (one.num_tokens, one.is_truncated) == (other.num_tokens, other.is_truncated)
    )


@st.composite
def _encodings(draw: st.DrawFn) -> Encoding:
    numbers = st_numpy.arrays(np.float32, draw(st.integers(1, 64)), elements=_finite)
    mu = draw(numbers)
    logvar = draw(st_numpy.arrays(np.float32, len(mu), elements=_finite))
    return Encoding(mu, logvar, draw(st.integers(0, 2**32 - 1)), draw(st.booleans()))


@pytest.mark.parametrize(
    "other",
    [{"backbone_digest": "c"}, {"adapter_digest": "c"}, {"max_tokens": 65}, {"is_truncating": True}, {"text": "x "}],
    ids=lambda part: next(iter(part)),
)
def test_every_part_makes_another_key(other: dict[str, object]) -> None:
    assert encoding_key(**_PARTS) != encoding_key(**{**_PARTS, **other})


def test_a_key_is_its_prefix_and_hex_digits_and_stays_the_same() -> None:
    """A key that changed without its format would leave every value of a running Redis behind."""
    assert _key("good food") == "adavae:enc:1:93de5feda60a67b09dbbedca052d25f9b01d1d8c4007c342ce81ea8900f06f34"
    assert len(_key("any")) == KEY_LENGTH


@given(st.text(), st.text(), st.text(), st.text())
def test_parts_never_run_into_each_other(backbone: str, adapter: str, other_backbone: str, other_adapter: str) -> None:
    rest = {"max_tokens": 1, "is_truncating": False, "text": ""}
    one = encoding_key(backbone_digest=backbone, adapter_digest=adapter, **rest)
    other = encoding_key(backbone_digest=other_backbone, adapter_digest=other_adapter, **rest)
    assert (one == other) == ((backbone, adapter) == (other_backbone, other_adapter))


def test_a_lone_surrogate_has_a_key_of_its_own() -> None:
    assert len({_key("\ud800"), _key("\ud801"), _key("?"), _key("\ufffd")}) == 4


@given(_encodings())
def test_what_was_packed_comes_back_bit_for_bit(encoding: Encoding) -> None:
    data = pack("key", encoding)
    assert len(data) == packed_size(len(encoding.mu))
    assert _is_same(unpack("key", data), encoding)


@given(_encodings(), st.data())
def test_one_changed_byte_is_noticed(encoding: Encoding, data: st.DataObject) -> None:
    packed = bytearray(pack("key", encoding))
    packed[data.draw(st.integers(0, len(packed) - 1))] ^= data.draw(st.integers(1, 255))
    assert unpack("key", bytes(packed)) is None


@given(_encodings(), st.data())
def test_a_value_that_was_cut_or_grew_is_noticed(encoding: Encoding, data: st.DataObject) -> None:
    packed = pack("key", encoding)
    assert unpack("key", packed[: data.draw(st.integers(0, len(packed) - 1))]) is None
    assert unpack("key", packed + data.draw(st.binary(min_size=1))) is None


@given(st.binary(max_size=200))
def test_garbage_is_no_encoding(garbage: bytes) -> None:
    assert unpack("key", garbage) is None


def test_a_value_is_readable_under_its_own_key_only() -> None:
    """A reply that belongs to another look-up would otherwise pass every check."""
    assert unpack("another key", pack("key", _encoding())) is None


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_no_encoding(wrong: float) -> None:
    encoding = Encoding(np.array([0, wrong], np.float32), np.zeros(2, np.float32), 1, False)
    assert unpack("key", pack("key", encoding)) is None
    assert unpack("key", pack("key", Encoding(encoding.logvar, encoding.mu, 1, False))) is None


def test_unpacked_arrays_are_read_only_float32() -> None:
    encoding = unpack("key", pack("key", _encoding()))
    assert encoding is not None
    assert encoding.mu.dtype == encoding.logvar.dtype == np.float32
    assert not encoding.mu.flags.writeable
    assert not encoding.logvar.flags.writeable


def test_a_cache_that_is_turned_off_keeps_nothing() -> None:
    async def run() -> None:
        cache = NoCache()
        await cache.put_many({"a": _encoding()})
        assert await cache.get_many(["a", "b"]) == [None, None]
        await cache.close()

    asyncio.run(run())


def test_memory_answers_in_the_order_of_the_keys() -> None:
    async def run() -> None:
        cache = MemoryCache(1024**2)
        one, two = _encoding(start=1), _encoding(start=2)
        await cache.put_many({"one": one, "two": two})
        found = await cache.get_many(["two", "none", "one", "two"])
        assert [encoding is None for encoding in found] == [False, True, False, False]
        assert _is_same(found[0], two)
        assert _is_same(found[2], one)
        assert (cache.counts.hits, cache.counts.misses, cache.counts.stored) == (3, 1, 2)
        await cache.close()
        assert await cache.get_many(["one"]) == [None]

    asyncio.run(run())


def test_memory_shares_no_array_with_its_callers() -> None:
    async def run() -> None:
        cache = MemoryCache(1024**2)
        given_in = _encoding()
        await cache.put_many({"key": given_in})
        given_in.mu[:] = 99
        (found,) = await cache.get_many(["key"])
        assert _is_same(found, _encoding())
        with pytest.raises(ValueError, match="read-only"):
            found.mu[:] = 99

    asyncio.run(run())


def test_memory_lets_the_least_recently_used_go_and_keeps_its_bound() -> None:
    async def run() -> None:
        probe = MemoryCache(1024**2)
        await probe.put_many({"any": _encoding()})
        entry_bytes = probe.num_bytes
        cache = MemoryCache(3 * entry_bytes)
        await cache.put_many({name: _encoding() for name in "abc"})
        await cache.get_many(["a"])
        await cache.put_many({"d": _encoding()})
        found = await cache.get_many(["a", "b", "c", "d"])
        assert [encoding is not None for encoding in found] == [True, False, True, True]
        assert cache.num_bytes == 3 * entry_bytes

    asyncio.run(run())


def test_memory_refuses_what_is_larger_than_itself_and_what_is_not_finite() -> None:
    async def run() -> None:
        cache = MemoryCache(2048)
        not_finite = Encoding(np.array([np.nan], np.float32), np.zeros(1, np.float32), 1, False)
        await cache.put_many({"large": _encoding(4096), "nan": not_finite, "good": _encoding()})
        found = await cache.get_many(["large", "nan", "good"])
        assert [encoding is not None for encoding in found] == [False, False, True]
        assert (cache.counts.errors, cache.counts.stored) == (2, 1)

    asyncio.run(run())


@pytest.mark.parametrize("latent_size", [1, 32, 768])
def test_memory_counts_what_the_process_really_gives(latent_size: int) -> None:
    """Counting the arrays' bytes alone would let 256 MiB of setting become a gigabyte of process at Z = 32."""

    async def fill(cache: MemoryCache) -> None:
        for number in range(1000):
            await cache.put_many({_key(str(number)): _encoding(latent_size)})

    cache = MemoryCache(1024**3)
    tracemalloc.start()
    try:
        asyncio.run(fill(cache))
        really, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 0.7 < really / cache.num_bytes < 1.1


@given(_encodings(), st.binary(min_size=1), st.binary(), st.data())
def test_only_who_knows_the_secret_makes_a_value_that_is_read(
    encoding: Encoding, secret: bytes, other: bytes, data: st.DataObject
) -> None:
    """Whoever could write to Redis could give any text any encoding: the seal was a plain checksum."""
    assume(secret != other)
    sealed = pack("key", encoding, secret)
    assert len(sealed) == packed_size(len(encoding.mu))
    assert _is_same(unpack("key", sealed, secret), encoding)
    assert unpack("key", sealed, other) is None
    assert unpack("another key", sealed, secret) is None
    assert unpack("key", pack("key", encoding, other), secret) is None
    changed = bytearray(sealed)
    changed[data.draw(st.integers(0, len(sealed) - 1))] ^= data.draw(st.integers(1, 255))
    assert unpack("key", bytes(changed), secret) is None


def test_with_a_secret_nobody_else_can_tell_where_a_text_is_kept() -> None:
    key = encoding_key(backbone_digest="b", adapter_digest="a", max_tokens=64, is_truncating=False, text="a text")
    places = {place_of(key, secret) for secret in (b"", b"one", b"two")}
    assert len(places) == 3
    assert place_of(key, b"") == key
    assert all(place.startswith(KEY_PREFIX) and len(place) == KEY_LENGTH for place in places)
