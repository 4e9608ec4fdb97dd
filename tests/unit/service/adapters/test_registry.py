"""Adapter sets as they come, change and go on disk, under requests that hold them."""

import asyncio
import contextlib
import random
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection
from pathlib import Path
from typing import Any

import pytest

from adavae.model.config import AdapterConfig
from adavae.model.errors import AdapterSetMismatch, AdapterSetNotFound, ConfigError, WeightsCorrupted
from adavae.model.storage import installed
from adavae.model.storage.adapter_set import Accepting, AdapterSet, read_adapter_set
from adavae.model.storage.adapter_store import AdapterStore
from adavae.model.storage.manifest import CARD, MANIFEST, TENSORS, Manifest, read_manifest
from adavae.service.adapters import registry as adapter_registry
from adavae.service.adapters.registry import AdapterRegistry, PinnedAdapter
from adavae.service.errors import BankFull, EngineStopped, Overloaded, ServiceError
from adavae.service.metrics import Metrics
from adavae.service.results import AdapterState
from tests.tiny import PLAIN, POOLED
from tests.tiny_sets import BACKBONE_DIGEST, TOKENIZER_DIGEST, edit_manifest, forge_manifest, publish

NEWER, NEWEST = "2026-02-02T00:00:00+00:00", "2026-03-03T00:00:00+00:00"
NEVER_S = 60.0
Use = contextlib.AbstractAsyncContextManager[PinnedAdapter]


class FakeBank:
    """Remembers what stands in which slot; refuses a load into a slot that somebody uses."""

    def __init__(self, num_slots: int = 4) -> None:
        self.num_slots = num_slots
        self.contents: dict[int, str] = {}
        self.in_use: Counter[int] = Counter()
        self.num_loads = 0
        self.error: Exception | None = None
        self.refused: str | None = None
        self.trial_error: Exception | None = None
        self.tried: list[str] = []
        self.expected: list[AdapterConfig] = []
        self.max_sets = num_slots
        self.may_load = asyncio.Event()
        self.may_load.set()

    def check(self, manifest: Manifest) -> None:
        if self.refused is not None and manifest.reference == self.refused:
            raise AdapterSetMismatch(f"{manifest.reference} is too large for this bank")

    async def try_out(self, adapter_set: AdapterSet) -> None:
        self.tried.append(adapter_set.manifest.reference)
        if self.trial_error is not None:
            raise self.trial_error

    async def unload(self, slot: int) -> None:
        assert self.in_use[slot] == 0
        self.contents.pop(slot, None)

    async def expect(self, configs: Collection[AdapterConfig]) -> None:
        self.expected = list(configs)

    async def load(self, slot: int, adapter_set: AdapterSet) -> None:
        assert self.in_use[slot] == 0
        if len(self.contents.keys() - {slot}) >= self.max_sets:
            raise BankFull("no room beside the others")
        self.contents.pop(slot, None)
        await self.may_load.wait()
        if self.error is not None:
            raise self.error
        assert self.in_use[slot] == 0
        self.num_loads += 1
        self.contents[slot] = adapter_set.manifest.reference


class Home:
    """Own and bundled adapter sets, and a registry over them."""

    def __init__(self, tmp_path: Path, **options: Any) -> None:
        self.own, self.bundled = tmp_path / "own", tmp_path / "bundled"
        self.bank, self.metrics = FakeBank(options.pop("num_slots", 4)), Metrics()
        fields: dict[str, Any] = {"default": "demo", "refresh_s": NEVER_S, "wait_s": NEVER_S} | options
        self.registry = AdapterRegistry(
            AdapterStore(self.own, [self.bundled]),
            self.bank,
            backbone_digests=[BACKBONE_DIGEST],
            tokenizer_digest=TOKENIZER_DIGEST,
            counters=self.metrics,
            **fields,
        )

    @contextlib.asynccontextmanager
    async def use(self, reference: str | None = None) -> AsyncIterator[PinnedAdapter]:
        """Acquires, and watches that the slot holds what it should from beginning to end."""
        async with self.registry.acquire(reference) as pinned:
            self.bank.in_use[pinned.slot] += 1
            assert self.bank.contents[pinned.slot] == pinned.reference
            try:
                yield pinned
            finally:
                assert self.bank.contents[pinned.slot] == pinned.reference
                self.bank.in_use[pinned.slot] -= 1

    async def version(self, reference: str | None = None) -> str:
        async with self.use(reference) as pinned:
            return pinned.version

    def state(self, path: Path) -> AdapterState:
        states = [own for own in self.registry.states() if (own.name, own.version) == (path.parent.name, path.name)]
        assert len(states) == 1
        return states[0]

    @property
    def counts(self) -> tuple[int, int, int]:
        """Loads, evictions, failures."""
        own = self.metrics
        totals = (own.adapter_loads_total, own.adapter_evictions_total, own.adapter_failures_total)
        return tuple(int(total._value.get()) for total in totals)  # type: ignore[return-value]  # three of them


@contextlib.asynccontextmanager
async def running(home: Home) -> AsyncIterator[Home]:
    await home.registry.start()
    try:
        yield home
    finally:
        await home.registry.stop()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.001)


def damage(path: Path, file: str = TENSORS) -> None:
    """Changes the file's last byte."""
    content = (path / file).read_bytes()
    (path / file).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


@pytest.mark.asyncio
async def test_a_name_means_its_newest_version_and_the_own_before_the_bundled(tmp_path: Path) -> None:
    home = Home(tmp_path)
    older, newest = publish(home.own), publish(home.own, created_at=NEWER)
    bundled = publish(home.bundled, created_at=NEWEST)
    other = publish(home.bundled, name="other", config=POOLED)
    async with running(home):
        assert await home.version() == newest.name
        assert await home.version("demo") == newest.name
        assert await home.version(f"demo@{older.name}") == older.name
        assert await home.version(f"demo@{bundled.name}") == bundled.name
        async with home.use("other") as pinned:
            assert pinned.reference == f"other@{other.name}"
            assert pinned.config == POOLED == pinned.manifest.config
        listed = home.registry.states()
    assert [(own.name, own.version) for own in listed] == [
        ("demo", newest.name),
        ("demo", older.name),
        ("demo", bundled.name),
        ("other", other.name),
    ]
    assert [own.is_current for own in listed] == [True, False, False, True]
    assert [own.is_default for own in listed] == [True, False, False, False]
    assert [own.is_bundled for own in listed] == [False, False, True, True]
    assert all(own.is_loaded and own.problem is None for own in listed)
    assert listed[0].metrics == {"neg_elbo": 41.25, "au": 4.0, "ppl": 1e30}
    assert (listed[0].kind, listed[0].latent_size) == ("generation", PLAIN.latent_size)
    assert home.registry.names_with_labels() == ["other"]


@pytest.mark.asyncio
async def test_of_two_versions_made_in_the_same_second_the_one_written_later_serves(tmp_path: Path) -> None:
    home = Home(tmp_path)
    publish(home.own, metrics={"au": 0})
    async with running(home):
        for number in range(1, 6):
            path = publish(home.own, metrics={"au": number})
            await home.registry.refresh()
            assert await home.version() == path.name


@pytest.mark.asyncio
async def test_digests_differ_between_versions_and_names(tmp_path: Path) -> None:
    home = Home(tmp_path)
    paths = [publish(home.own), publish(home.own, created_at=NEWER), publish(home.own, name="other")]
    digests = set()
    async with running(home):
        for path in paths:
            async with home.use(f"{path.parent.name}@{path.name}") as pinned:
                digests.add(pinned.digest)
    assert len(digests) == 3


@pytest.mark.asyncio
async def test_unknown_names_are_answered_with_what_comes_close_and_what_there_is(tmp_path: Path) -> None:
    home = Home(tmp_path)
    async with running(home):
        with pytest.raises(AdapterSetNotFound, match="none is installed"):
            await home.version("demo")
        path = publish(home.own)
        publish(home.own, name="other")
        await home.registry.refresh()
        with pytest.raises(AdapterSetNotFound, match=r"'dmo' \(did you mean 'demo'\?\); installed: demo, other"):
            await home.version("dmo")
        with pytest.raises(AdapterSetNotFound, match=f"demo has no version 'abc'; installed: {path.name}"):
            await home.version("demo@abc")
        with pytest.raises(AdapterSetNotFound) as long:
            await home.version("x" * 100_000)
        assert len(str(long.value)) < 300
        with pytest.raises(AdapterSetNotFound):
            await home.version("../own/demo")


@pytest.mark.asyncio
async def test_two_hundred_requests_for_twenty_sets_share_four_slots(tmp_path: Path) -> None:
    home = Home(tmp_path)
    paths = [publish(home.own, name=f"set-{number}") for number in range(20)]
    draw = random.Random(7)

    async def request(path: Path) -> None:
        async with home.use(path.parent.name) as pinned:
            assert pinned.version == path.name
            for _ in range(draw.randrange(4)):
                await asyncio.sleep(0)

    async with running(home):
        async with asyncio.timeout(60):
            await asyncio.gather(*(request(draw.choice(paths)) for _ in range(200)))
        num_loads, num_evictions, num_failures = home.counts
    assert num_loads == home.bank.num_loads >= 20 - 4
    assert num_evictions == num_loads - 4
    assert num_failures == 0


@pytest.mark.asyncio
async def test_the_least_recently_used_set_makes_room(tmp_path: Path) -> None:
    home = Home(tmp_path, num_slots=2)
    paths = {name: publish(home.own, name=name) for name in ("a", "b", "c")}
    async with running(home):
        for name in ("a", "b", "a", "c"):
            await home.version(name)
        assert [home.state(paths[name]).is_loaded for name in "abc"] == [True, False, True]
        assert home.counts == (3, 1, 0)


@pytest.mark.asyncio
async def test_requests_for_one_set_load_it_once(tmp_path: Path) -> None:
    home = Home(tmp_path)
    publish(home.own)
    async with running(home):
        await asyncio.gather(*(home.version() for _ in range(50)))
    assert home.counts == (1, 0, 0)


@pytest.mark.asyncio
async def test_different_sets_load_side_by_side(tmp_path: Path) -> None:
    home = Home(tmp_path)
    for name in ("a", "b", "c"):
        publish(home.own, name=name)
    async with running(home):
        home.bank.may_load.clear()
        waiting = [asyncio.ensure_future(home.version(name)) for name in ("a", "b", "c")]
        await until(lambda: sum(own.slot is not None for own in home.registry._slots._entries.values()) == 3)
        home.bank.may_load.set()
        await asyncio.gather(*waiting)


@pytest.mark.asyncio
async def test_a_pinned_slot_is_waited_for_and_refused_when_that_takes_too_long(tmp_path: Path) -> None:
    home = Home(tmp_path, num_slots=1)
    publish(home.own, name="a")
    publish(home.own, name="b")
    async with running(home):
        async with home.use("a"):
            waiting = asyncio.ensure_future(home.version("b"))
            await until(lambda: home.registry._slots._waiting)
            assert await home.version("a")
        await waiting
    impatient = Home(tmp_path, num_slots=1, wait_s=0.01)
    async with running(impatient), impatient.use("a"):
        with pytest.raises(Overloaded, match=r"all 1 places.*ADAVAE_BANK_SLOTS"):
            await impatient.version("b")
        assert await impatient.version("a")
    async with running(impatient):
        await impatient.version("b")


@pytest.mark.asyncio
async def test_slots_are_given_in_the_order_in_which_they_were_asked_for(tmp_path: Path) -> None:
    home = Home(tmp_path, num_slots=1)
    order: list[str] = []
    for name in ("a", "b", "c", "d"):
        publish(home.own, name=name)

    async def request(name: str) -> None:
        async with home.use(name):
            order.append(name)

    async with running(home):
        async with home.use("a"):
            waiting = [asyncio.ensure_future(request(name)) for name in ("c", "b", "d")]
            await until(lambda: len(home.registry._slots._waiting) == 3)
        await asyncio.gather(*waiting)
    assert order == ["c", "b", "d"]


@pytest.mark.asyncio
@pytest.mark.parametrize("is_granted", [True, False])
async def test_a_cancelled_request_leaves_no_pin_and_no_half_loaded_slot(tmp_path: Path, is_granted: bool) -> None:
    home = Home(tmp_path, num_slots=1)
    publish(home.own, name="a")
    publish(home.own, name="b")
    slots = home.registry._slots
    async with running(home):
        async with home.use("a") if not is_granted else contextlib.nullcontext():
            home.bank.may_load.clear()
            waiting = [asyncio.ensure_future(home.version("b")) for _ in range(3)]
            await until(lambda: slots._entries and next(reversed(slots._entries.values())).num_pins == 3)
            for task in waiting:
                task.cancel()
            await asyncio.wait(waiting)
            assert all(task.cancelled() for task in waiting)
            home.bank.may_load.set()
        await until(lambda: all(place.is_loaded for place in slots._entries.values()))
        assert [place.num_pins for place in slots._entries.values()] == [0]
        assert not slots._waiting
        assert await home.version("a") and await home.version("b") and await home.version("a")


@pytest.mark.asyncio
async def test_one_cancelled_request_takes_nothing_from_the_others(tmp_path: Path) -> None:
    home = Home(tmp_path)
    path = publish(home.own)
    async with running(home):
        home.bank.may_load.clear()
        waiting = [asyncio.ensure_future(home.version()) for _ in range(3)]
        await until(lambda: home.registry._slots._entries)
        waiting[0].cancel()
        home.bank.may_load.set()
        assert await asyncio.gather(*waiting[1:]) == [path.name] * 2
    assert home.counts == (1, 0, 0)


@pytest.mark.asyncio
async def test_random_cancellations_leave_every_slot_usable(tmp_path: Path) -> None:
    home = Home(tmp_path)
    for number in range(12):
        publish(home.own, name=f"set-{number}")
    draw = random.Random(3)

    async def request() -> None:
        async with home.use(f"set-{draw.randrange(12)}"):
            await asyncio.sleep(0)

    async with running(home):
        for _ in range(10):
            tasks = [asyncio.ensure_future(request()) for _ in range(40)]
            for _ in range(draw.randrange(60)):
                await asyncio.sleep(0)
            for task in draw.sample(tasks, 30):
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(own is None or isinstance(own, asyncio.CancelledError) for own in results)
        slots = home.registry._slots
        await until(lambda: all(place.is_loaded for place in slots._entries.values()))
        assert all(place.num_pins == 0 for place in slots._entries.values())
        taken = [place.slot for place in slots._entries.values()]
        assert sorted([*slots._free, *(slot for slot in taken if slot is not None)]) == [0, 1, 2, 3]


@pytest.mark.asyncio
async def test_a_new_version_serves_while_the_old_one_finishes_in_its_slot(tmp_path: Path) -> None:
    home = Home(tmp_path, num_slots=2)
    old = publish(home.own)
    async with running(home), home.use() as before:
        new = publish(home.own, created_at=NEWER)
        await home.registry.refresh()
        async with home.use() as after:
            assert (before.version, after.version) == (old.name, new.name)
            assert before.slot != after.slot
            assert before.digest != after.digest
        assert await home.version(f"demo@{old.name}") == old.name


@pytest.mark.asyncio
async def test_new_versions_new_names_and_deletions_are_found_without_being_asked(tmp_path: Path) -> None:
    home = Home(tmp_path, refresh_s=0.005)
    publish(home.bundled)
    async with running(home):
        new = publish(home.own, created_at=NEWER)
        other = publish(home.own, name="other")
        await until(lambda: len(home.registry.states()) == 3)
        assert await home.version() == new.name
        assert await home.version("other") == other.name
        shutil.rmtree(other.parent)
        await until(lambda: len(home.registry.states()) == 2)
        with pytest.raises(AdapterSetNotFound):
            await home.version("other")


@pytest.mark.asyncio
@pytest.mark.parametrize("file", [TENSORS, MANIFEST, CARD])
async def test_a_damaged_new_version_is_refused_and_the_one_before_goes_on(tmp_path: Path, file: str) -> None:
    home = Home(tmp_path)
    old = publish(home.own)
    async with running(home):
        new = publish(home.own, created_at=NEWER)
        damage(new, file)
        for _ in range(3):
            await home.registry.refresh()
            assert await home.version() == old.name
        state = home.state(new)
        assert state.problem is not None and "install the set again" in state.problem
        assert str(tmp_path) not in state.problem
        assert not state.is_current and home.state(old).is_current
        assert home.counts[2] == 1
        with pytest.raises(WeightsCorrupted, match=f"demo@{new.name} cannot be used"):
            await home.version(f"demo@{new.name}")
        damage(new, file)  # the same bit again: as it was
        await home.registry.refresh()
        assert await home.version() == new.name
        assert home.state(new).problem is None


@pytest.mark.asyncio
async def test_versions_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    home = Home(tmp_path)
    publish(home.own, backbone_digest="e" * 64)
    async with running(home):
        with pytest.raises(AdapterSetMismatch, match="trained over another backbone"):
            await home.version()
        old = publish(home.own, name="other")
        new = publish(home.own, name="other", created_at=NEWER)
        forge_manifest(new, lambda values: values.update(format_version=99))
        await home.registry.refresh()
        assert await home.version("other") == old.name
        assert home.counts[2] == 2


@pytest.mark.asyncio
async def test_a_set_in_the_place_of_another_is_refused(tmp_path: Path) -> None:
    home = Home(tmp_path)
    path = publish(home.own)
    path.rename(path.with_name("0123456789ab"))
    async with running(home):
        with pytest.raises(WeightsCorrupted, match="move it to where it belongs"):
            await home.version()


@pytest.mark.asyncio
@pytest.mark.parametrize("error", [AdapterSetMismatch("too wide"), ConfigError("encoder_layers", 9, "too many")])
async def test_what_the_bank_does_not_take_is_refused_and_the_version_before_serves(
    tmp_path: Path, error: Exception
) -> None:
    home = Home(tmp_path)
    old = publish(home.own)
    async with running(home):
        await home.version()
        new = publish(home.own, created_at=NEWER)
        await home.registry.refresh()
        home.bank.error = error
        assert await asyncio.gather(*(home.version() for _ in range(5))) == [old.name] * 5
        assert home.state(new).problem == str(error)
        assert home.counts == (1, 0, 1)
        with pytest.raises(AdapterSetMismatch):
            await home.version(f"demo@{new.name}")


@pytest.mark.asyncio
async def test_a_load_that_fails_for_the_moment_refuses_nothing(tmp_path: Path) -> None:
    home = Home(tmp_path, num_slots=1)
    path = publish(home.own)
    async with running(home):
        home.bank.error = EngineStopped("starting")
        results = await asyncio.gather(*(home.version() for _ in range(5)), return_exceptions=True)
        assert all(isinstance(own, EngineStopped) for own in results)
        assert home.state(path).problem is None
        home.bank.error = None
        assert await home.version() == path.name
        assert home.counts == (1, 0, 0)


@pytest.mark.asyncio
async def test_what_was_loaded_before_its_file_was_damaged_serves_as_the_last_resort(tmp_path: Path) -> None:
    home = Home(tmp_path, num_slots=1)
    path, other = publish(home.own), publish(home.own, name="other")
    async with running(home):
        await home.version()
        damage(path)
        await home.registry.refresh()
        assert await home.version() == path.name
        assert home.state(path).problem is not None
        assert await home.version("other") == other.name
        with pytest.raises(WeightsCorrupted, match="sha256"):
            await home.version()
        older = publish(home.own, created_at="2025-01-01T00:00:00+00:00")
        await home.registry.refresh()
        assert await home.version() == older.name


@pytest.mark.asyncio
async def test_a_file_damaged_after_it_was_verified_is_noticed_when_it_is_loaded(tmp_path: Path) -> None:
    home = Home(tmp_path)
    old, new = publish(home.own), publish(home.own, created_at=NEWER)
    async with running(home):
        damage(new)
        with pytest.raises(WeightsCorrupted, match="sha256"):
            await home.version(f"demo@{new.name}")
        assert await home.version() == old.name
        await home.registry.refresh()
        assert home.state(new).problem is not None
        assert home.counts == (1, 0, 1)


@pytest.mark.asyncio
async def test_a_set_that_is_still_being_copied_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home(tmp_path)
    publish(home.own)
    async with running(home):
        new = publish(home.own, created_at=NEWER)
        content = (new / TENSORS).read_bytes()
        (new / TENSORS).write_bytes(content[:10])
        original = read_adapter_set

        def read_while_copied(path: Path, accepting: Accepting) -> AdapterSet:
            try:
                return original(path, accepting)
            finally:
                (new / TENSORS).write_bytes(content)

        monkeypatch.setattr(adapter_registry, "read_adapter_set", read_while_copied)
        await home.registry.refresh()
        assert len(home.registry.states()) == 1
        await home.registry.refresh()
        assert await home.version() == new.name
        assert home.counts[2] == 0


@pytest.mark.asyncio
async def test_what_could_not_be_read_is_looked_at_again_and_counted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path)
    path = publish(home.own)
    original = read_adapter_set

    def unreadable(path: Path, _accepting: Accepting) -> AdapterSet:
        raise WeightsCorrupted(f"{path / TENSORS} cannot be read (too many open files)")

    monkeypatch.setattr(adapter_registry, "read_adapter_set", unreadable)
    monkeypatch.setattr(installed, "_RECHECK_S", 0.0)
    async with running(home):
        for _ in range(3):
            await home.registry.refresh()
            with pytest.raises(WeightsCorrupted, match="too many open files"):
                await home.version()
        monkeypatch.setattr(adapter_registry, "read_adapter_set", original)
        await home.registry.refresh()
        assert await home.version() == path.name
        assert home.counts == (1, 0, 1)


@pytest.mark.asyncio
async def test_a_request_in_flight_finishes_when_its_set_is_deleted(tmp_path: Path) -> None:
    home = Home(tmp_path, num_slots=1)
    publish(home.bundled)
    path = publish(home.own, name="mine")
    async with running(home):
        async with home.use("mine") as pinned:
            deleted = await home.registry.delete("mine")
            assert [(own.name, own.version, own.is_current) for own in deleted] == [("mine", path.name, True)]
            with pytest.raises(AdapterSetNotFound):
                await home.version("mine")
            assert home.bank.contents[pinned.slot] == pinned.reference
        assert not path.parent.exists()
        assert await home.version()


@pytest.mark.asyncio
async def test_deleting_one_version_leaves_the_others(tmp_path: Path) -> None:
    home = Home(tmp_path)
    bundled, old = publish(home.bundled), publish(home.own, created_at=NEWER)
    new = publish(home.own, created_at=NEWEST)
    async with running(home):
        await home.registry.delete(f"demo@{new.name}")
        assert await home.version() == old.name
        again = publish(home.own, created_at=NEWEST)
        await home.registry.refresh()
        assert len(await home.registry.delete("demo")) == 2
        assert not again.exists() and not old.exists()
        assert await home.version() == bundled.name
        with pytest.raises(AdapterSetNotFound):
            await home.registry.delete(f"demo@{new.name}")


@pytest.mark.asyncio
async def test_bundled_sets_and_the_last_of_the_default_stay(tmp_path: Path) -> None:
    home = Home(tmp_path)
    default, bundled = publish(home.own), publish(home.bundled, name="bundled")
    async with running(home):
        with pytest.raises(ServiceError, match="bundled with adavae") as refused:
            await home.registry.delete("bundled")
        assert (refused.value.status, refused.value.code) == (409, "adapter_bundled")
        for reference in ("demo", f"demo@{default.name}"):
            with pytest.raises(ServiceError, match="ADAVAE_DEFAULT_ADAPTER") as refused:
                await home.registry.delete(reference)
            assert refused.value.status == 409
        with pytest.raises(AdapterSetNotFound, match="bundled, demo"):
            await home.registry.delete("nothing")
        assert default.exists() and bundled.exists()
        publish(home.own, created_at=NEWER)
        await home.registry.refresh()
        await home.registry.delete(f"demo@{default.name}")
        assert not default.exists()


@pytest.mark.asyncio
async def test_a_damaged_own_set_can_be_deleted(tmp_path: Path) -> None:
    home = Home(tmp_path)
    publish(home.bundled)
    path = publish(home.own, name="mine")
    (path / MANIFEST).write_bytes(b"{")
    async with running(home):
        await home.registry.delete("mine")
        assert not path.exists()


@pytest.mark.asyncio
async def test_an_own_copy_of_a_bundled_version_is_listed_once_and_either_serves(tmp_path: Path) -> None:
    home = Home(tmp_path)
    path, copy = publish(home.bundled), publish(home.own)
    async with running(home):
        assert not home.state(path).is_bundled
        damage(copy)
        await home.registry.refresh()
        assert home.state(path).is_bundled and home.state(path).problem is None
        assert await home.version() == path.name


@pytest.mark.asyncio
async def test_manifests_are_read_once_however_often_the_disk_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.fsync", lambda _: None)
    home = Home(tmp_path)
    paths = [publish(home.own, name=f"set-{number}") for number in range(300)]
    read: Counter[Path] = Counter()
    original = read_manifest

    def counted(path: Path) -> Any:
        read[path] += 1
        return original(path)

    monkeypatch.setattr(installed, "read_manifest", counted)
    async with running(home):
        for _ in range(5):
            await home.registry.refresh()
        assert read == Counter(paths)
        assert len(home.registry.states()) == 300
        damage(paths[250])
        assert await home.version("set-249") == paths[249].name
        with pytest.raises(WeightsCorrupted, match="sha256"):
            await home.version("set-250")
        await home.registry.refresh()
        assert read == Counter([*paths, paths[250]])
        assert home.counts == (1, 0, 1)


@pytest.mark.asyncio
async def test_of_many_versions_that_nobody_verified_the_newest_whole_one_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter_registry, "_MANY_ARRIVALS", 0)
    home = Home(tmp_path)
    old, new = publish(home.own), publish(home.own, created_at=NEWER)
    damage(new)
    async with running(home):
        assert home.state(new).problem is None
        assert await home.version() == old.name
        assert home.state(new).problem is not None
        assert home.counts == (1, 0, 1)


@pytest.mark.asyncio
async def test_what_is_no_adapter_set_is_passed_over(tmp_path: Path) -> None:
    home = Home(tmp_path)
    path = publish(home.own)
    for name in (".staging-0", "Not A Name", "empty", "empty/version", "caf\u00e9"):
        (home.own / name).mkdir()
    (home.own / "file").write_text("")
    (home.own / "demo" / "notes").write_text("")
    shutil.copytree(path, home.own / ".hidden" / path.name)
    shutil.copytree(path, home.own / "Not A Name" / path.name)
    async with running(home):
        assert [own.version for own in home.registry.states()] == [path.name]
        assert home.counts[2] == 0


@pytest.mark.asyncio
async def test_a_disk_that_cannot_be_read_for_a_while_takes_nothing_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path, refresh_s=0.001)
    publish(home.own)
    num_failures = 0

    def broken(*_: object) -> None:
        nonlocal num_failures
        num_failures += 1
        raise OSError(5, "Input/output error")

    async with running(home):
        with monkeypatch.context() as patch:
            patch.setattr(adapter_registry, "scan", broken)
            await until(lambda: num_failures > 2)
            assert await home.version()
        publish(home.own, name="other")
        await until(lambda: len(home.registry.states()) == 2)


@pytest.mark.asyncio
async def test_an_edited_manifest_is_refused(tmp_path: Path) -> None:
    home = Home(tmp_path)
    path = publish(home.own)
    async with running(home):
        edit_manifest(path, lambda values: values.update(created_at=NEWEST))
        await home.registry.refresh()
        with pytest.raises(WeightsCorrupted, match="was changed"):
            await home.version()


@pytest.mark.asyncio
async def test_stopping_gives_up_loads_that_nobody_waits_for(tmp_path: Path) -> None:
    home = Home(tmp_path)
    publish(home.own)
    await home.registry.start()
    home.bank.may_load.clear()
    waiting = asyncio.ensure_future(home.version())
    slots = home.registry._slots
    await until(lambda: any(place.slot is not None for place in slots._entries.values()))
    waiting.cancel()
    await asyncio.wait([waiting])
    await home.registry.stop()
    assert not slots._entries and len(slots._free) == 4


@pytest.mark.asyncio
async def test_a_request_goes_on_while_the_registry_stops(tmp_path: Path) -> None:
    home = Home(tmp_path)
    path = publish(home.own)
    await home.registry.start()
    home.bank.may_load.clear()
    waiting = asyncio.ensure_future(home.version())
    await until(lambda: home.registry._slots._entries)
    await home.registry.stop()
    home.bank.may_load.set()
    assert await waiting == path.name


@pytest.mark.asyncio
async def test_a_set_is_found_by_who_asks_for_it_before_the_next_look(tmp_path: Path) -> None:
    home = Home(tmp_path)
    publish(home.own)
    async with running(home):
        path = publish(home.own, name="fresh")
        assert await home.version("fresh") == path.name
        newer = publish(home.own, name="fresh", created_at="2026-02-02T03:04:05+00:00")
        assert await home.version(f"fresh@{newer.name}") == newer.name


@pytest.mark.asyncio
async def test_unknown_names_share_a_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, looks, scan = Home(tmp_path), [], adapter_registry.scan
    publish(home.own)
    async with running(home):
        monkeypatch.setattr(adapter_registry, "scan", lambda *arguments: looks.append(1) or scan(*arguments))
        asked = [home.version(f"unknown-{number}") for number in range(50)]
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert all(isinstance(outcome, AdapterSetNotFound) for outcome in outcomes)
    assert len(looks) == 1


@pytest.mark.asyncio
async def test_a_set_that_finds_no_room_takes_that_of_idle_ones(tmp_path: Path) -> None:
    home = Home(tmp_path)
    for name in ("a", "b", "c"):
        publish(home.own, name=name)
    async with running(home):
        for name in ("a", "b"):
            await home.version(name)
        home.bank.max_sets = 2
        await home.version("c")
        assert {own.name: own.is_loaded for own in home.registry.states()} == {"a": False, "b": True, "c": True}
        home.bank.max_sets = 1
        assert await home.version("a") and await home.version("b") and await home.version("c")
        assert list(home.bank.contents.values()) == [f"c@{await home.version('c')}"]


@pytest.mark.asyncio
async def test_a_set_that_finds_no_room_beside_those_in_use_is_put_off(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.bank.max_sets = 1
    paths = {name: publish(home.own, name=name) for name in ("a", "b")}
    async with running(home):
        async with home.use("a"):
            with pytest.raises(Overloaded, match="no room beside the others"):
                await home.version("b")
            assert home.state(paths["b"]).problem is None
        assert await home.version("b") == paths["b"].name
        assert home.counts[2] == 0


@pytest.mark.asyncio
async def test_what_is_deleted_leaves_its_slot_once_nobody_uses_it(tmp_path: Path) -> None:
    home = Home(tmp_path)
    publish(home.own)
    publish(home.own, name="large", config=POOLED)
    async with running(home):
        await home.version()
        async with home.use("large"):
            await home.registry.delete("large")
            await until(lambda: home.bank.expected == [PLAIN])
            assert len(home.bank.contents) == 2
        await home.registry.refresh()
        await until(lambda: len(home.bank.contents) == 1)
        assert await home.version()


@pytest.mark.asyncio
async def test_the_bank_is_told_of_what_may_be_asked_for_the_default_first(tmp_path: Path) -> None:
    home = Home(tmp_path)
    publish(home.own, name="a", config=POOLED)
    publish(home.own)
    refused = publish(home.own, name="z", config=POOLED)
    home.bank.refused = f"z@{refused.name}"
    async with running(home):
        await until(lambda: home.bank.expected)
        assert home.bank.expected == [PLAIN, POOLED]
        assert home.state(refused).problem == f"z@{refused.name} is too large for this bank"


@pytest.mark.asyncio
async def test_a_version_is_used_before_it_is_current_and_not_again(tmp_path: Path) -> None:
    home = Home(tmp_path, num_slots=1)
    first = publish(home.own)
    publish(home.own, name="other")
    async with running(home):
        assert f"demo@{first.name}" in home.bank.tried
        home.bank.trial_error = WeightsCorrupted("was tried, and the z of a text is not finite")
        second = publish(home.own, created_at=NEWER)
        await home.registry.refresh()
        assert await home.version() == first.name
        assert home.state(second).problem == "was tried, and the z of a text is not finite"
        for name in ("other", "demo", "other", "demo"):
            await home.version(name)
        assert sorted(home.bank.tried) == sorted(set(home.bank.tried))


@pytest.mark.asyncio
async def test_whatever_one_check_brings_about_the_others_are_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path)
    bad, original = publish(home.own, name="a"), read_adapter_set

    def read(path: Path, accepting: Accepting) -> AdapterSet:
        if path == bad:
            raise RuntimeError("something nobody thought of")
        return original(path, accepting)

    monkeypatch.setattr(adapter_registry, "read_adapter_set", read)
    good = publish(home.own)
    async with running(home):
        assert await home.version() == good.name
        problem = home.state(bad).problem
        assert problem is not None and "RuntimeError: something nobody thought of" in problem


@pytest.mark.asyncio
async def test_a_set_that_cannot_be_tried_yet_is_tried_at_the_next_look(tmp_path: Path) -> None:
    home = Home(tmp_path)
    path = publish(home.own)
    home.bank.trial_error = EngineStopped("starting")
    async with running(home):
        assert home.registry.states() == []
        home.bank.trial_error = None
        await home.registry.refresh()
        assert await home.version() == path.name
