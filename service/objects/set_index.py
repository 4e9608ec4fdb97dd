"""Which adapter sets there are in an object store: one record, replaced under a condition at each change.

    sets.json   {"format": 1, "last": 17, "sets": [["reviews", "0123456789ab", 17, "alice"], ...]}

A set is published by being named here, after its files are there; so it is whole, or nobody sees it. The number is its
place in the order of publication, given out by the same change: no clock decides. So is whose the name is: the key's
that published under it first, for as long as there is a version of it. Whoever looks whether there is something new
asks for what has changed since, which is one small answer however many sets there are. No listing decides
anything, and an answer that is older than one before is passed over: ``last`` grows with every change.
"""

import json
import random
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from adavae.model.errors import AdapterSetNotFound, ConfigError
from adavae.model.storage.adapter_name import check_name
from adavae.service.objects.errors import ObjectChanged, StoreError
from adavae.service.objects.object_store import NotOurs, ObjectStore

SetKey = tuple[str, str]
"""Name and version."""

_KEY = "sets.json"
_FORMAT = 1
_MAX_BYTES = 64 * 1024**2  # half a million sets
_MAX_NUMBER = 10**15
_VERSION = re.compile(r"[0-9a-f]{12}")
_LONGEST_OWNER = 256
_TRIES, _LONGEST_PAUSE_S = 24, 0.5


@dataclass(frozen=True, slots=True)
class Sets:
    """The index at one moment.

    Attributes:
        numbers: The place of each set in the order of publication.
        owners: Whose a set is; those that are nobody's are left out.
        last: A number that grows with every change.
    """

    numbers: Mapping[SetKey, int] = field(default_factory=dict)
    owners: Mapping[SetKey, str] = field(default_factory=dict)
    last: int = 0

    def of_name(self, name: str) -> set[str]:
        """The versions of a name."""
        return {version for each, version in self.numbers if each == name}

    def owner_of(self, name: str) -> str | None:
        """Whose a name is; None where it is nobody's."""
        return next((owner for (each, _), owner in self.owners.items() if each == name), None)

    def with_set(self, key: SetKey, owner: str | None) -> "Sets":
        """With one more; it is its publisher's where the name is, or is new."""
        is_owned = owner is not None and (not self.of_name(key[0]) or self.owner_of(key[0]) == owner)
        owned = {key: owner} if is_owned and owner is not None else {}
        return Sets({**self.numbers, key: self.last + 1}, {**self.owners, **owned}, self.last + 1)

    def without(self, key: SetKey) -> "Sets":
        numbers = {each: number for each, number in self.numbers.items() if each != key}
        return Sets(numbers, {each: owner for each, owner in self.owners.items() if each != key}, self.last + 1)

    def to_bytes(self) -> bytes:
        listed = [[*key, number, self.owners.get(key)] for key, number in self.numbers.items()]
        return json.dumps({"format": _FORMAT, "last": self.last, "sets": listed}, separators=(",", ":")).encode()


class SetIndex:
    """The index of one store; used from any thread."""

    def __init__(self, store: ObjectStore) -> None:
        self._store, self._lock = store, threading.Lock()
        self._known, self._tag = Sets(), ""

    def current(self) -> Sets:
        """What there is now.

        Raises:
            StoreError: It cannot be asked, or the index is damaged.
        """
        return self._read()[0]

    def add(self, key: SetKey, owner: str | None = None, checking: Callable[[Sets], None] = lambda _: None) -> int:
        """Publishes a set whose files are there; returns its number, the one it had where it was there already.

        Args:
            key: Of the set.
            owner: Who publishes it.
            checking: Called with the index as it was read, before the change, which counts only if the index has stayed
                like that: raises where the set is not to be published.

        Raises:
            StoreError: The store cannot be used.
            ObjectChanged: Others changed the index again and again.
        """

        def added(sets: Sets) -> Sets:
            if key in sets.numbers:
                return sets
            checking(sets)
            return sets.with_set(key, owner)

        return self._change(added).numbers[key]

    def remove(self, key: SetKey) -> None:
        """Takes a set out; raises AdapterSetNotFound, otherwise as ``add``."""

        def removed(sets: Sets) -> Sets:
            if key not in sets.numbers:
                raise AdapterSetNotFound(f"{'@'.join(key)} is not there any more")
            return sets.without(key)

        self._change(removed)

    def _change(self, changed: Callable[[Sets], Sets]) -> Sets:
        for attempt in range(_TRIES):
            sets, tag = self._read()
            new = changed(sets)
            if new is sets:
                return sets
            try:
                self._write(new, tag)
            except (FileExistsError, ObjectChanged):
                time.sleep(random.uniform(0.0, min(_LONGEST_PAUSE_S, 0.01 * 2**attempt)))
                continue
            return new
        raise ObjectChanged(f"the index of adapter sets was changed by others {_TRIES} times: try again")

    def _read(self) -> tuple[Sets, str]:
        """The index and its tag, which is empty where there is none yet."""
        with self._lock:
            known, tag = self._known, self._tag
        try:
            found = self._store.newer(_KEY, tag or None, _MAX_BYTES)
        except FileNotFoundError as exc:
            if tag:
                raise StoreError("absent", self._store.address, f"{_KEY} has gone") from exc
            return Sets(), ""
        except NotOurs as exc:
            raise StoreError("failed", self._store.address, f"{_KEY} {exc}") from exc
        if found is None:
            return known, tag
        sets = self._decoded(found.content)
        if sets.last < known.last:  # an old answer
            return known, tag
        self._remember(sets, found.tag)
        return sets, found.tag

    def _write(self, sets: Sets, tag: str) -> None:
        content = sets.to_bytes()
        if len(content) > _MAX_BYTES:
            raise StoreError("failed", self._store.address, f"{len(sets.numbers):,} adapter sets are too many for it")
        self._remember(sets, self._store.replace(_KEY, content, tag) if tag else self._store.create(_KEY, content))

    def _remember(self, sets: Sets, tag: str) -> None:
        with self._lock:
            if sets.last >= self._known.last:  # threads may come here in another order
                self._known, self._tag = sets, tag

    def _decoded(self, content: bytes) -> Sets:
        try:
            value = json.loads(content)
            if value["format"] != _FORMAT:
                raise ConfigError("format", value["format"], f"must be {_FORMAT}: another release wrote it")
            last, listed = _number(value["last"]), value["sets"]
            entries = [_entry(each) for each in listed]
            numbers = {key: number for key, number, _ in entries}
            owners = {key: owner for key, _, owner in entries if owner is not None}
            if len(numbers) != len(listed) or max(numbers.values(), default=0) > last:
                raise ConfigError("sets", len(listed), "must be different sets, with numbers up to `last`")
        except (ValueError, TypeError, LookupError, RecursionError, ConfigError) as exc:
            raise StoreError("failed", self._store.address, f"{_KEY} is damaged: {exc}"[:300]) from exc
        return Sets(numbers, owners, last)


def _entry(value: Any) -> tuple[SetKey, int, str | None]:
    name, version, number, owner = value
    if not isinstance(name, str) or not isinstance(version, str) or not _VERSION.fullmatch(version):
        raise ConfigError("sets", str(value)[:80], "must be a name, a version, a number and an owner")
    if owner is not None and not (isinstance(owner, str) and 0 < len(owner) <= _LONGEST_OWNER):
        raise ConfigError("owner", str(owner)[:80], "must be a key's name, or null")
    check_name(name)
    return (name, version), _number(number), owner


def _number(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= _MAX_NUMBER:
        raise ConfigError("number", str(value)[:40], f"must be 0 to {_MAX_NUMBER:,}")
    return value
