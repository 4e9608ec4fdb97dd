"""Adapter sets as they come, change and go on disk, under requests that hold them."""

import asyncio
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from adavae.model.errors import AdapterSetMismatch, AdapterSetNotFound, ConfigError, WeightsCorrupted
from adavae.model.storage import adapter_store, installed
from adavae.model.storage.adapter_set import Accepting, AdapterSet, read_adapter_set
from adavae.model.storage.adapter_store import AdapterStore
from adavae.model.storage.manifest import CARD, MANIFEST, TENSORS, read_manifest
from adavae.service.adapters import registry as adapter_registry
from adavae.service.errors import EngineStopped, ServiceError
from tests.tiny_sets import edit_manifest, forge_manifest, publish
from tests.unit.service.adapters.adapter_home import NEWER, NEWEST, Home, damage, running, until


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
        assert all(isinstance(each, EngineStopped) for each in results)
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

        monkeypatch.setattr(adapter_store, "read_adapter_set", read_while_copied)
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

    monkeypatch.setattr(adapter_store, "read_adapter_set", unreadable)
    monkeypatch.setattr(installed, "_RECHECK_S", 0.0)
    async with running(home):
        for _ in range(3):
            await home.registry.refresh()
            with pytest.raises(WeightsCorrupted, match="too many open files"):
                await home.version()
        monkeypatch.setattr(adapter_store, "read_adapter_set", original)
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
            assert [(each.name, each.version, each.is_current) for each in deleted] == [("mine", path.name, True)]
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
async def test_a_name_is_deleted_whole_though_others_have_deleted_one_of_its_versions(tmp_path: Path) -> None:
    """The version that had gone was not found, and the ones behind it stayed."""
    home = Home(tmp_path)
    publish(home.own)
    paths = [publish(home.own, name="other", created_at=created_at) for created_at in (NEWER, NEWEST)]
    async with running(home):
        shutil.rmtree(paths[1])
        assert len(await home.registry.delete("other")) == 2
        assert not paths[0].exists()


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
        assert [each.version for each in home.registry.states()] == [path.name]
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
            patch.setattr(AdapterStore, "scan", broken)
            await until(lambda: num_failures > 2)
            assert await home.version()
            assert "what is there goes on serving" in (home.registry.blindness() or "")
        publish(home.own, name="other")
        await until(lambda: len(home.registry.states()) == 2)
        await until(lambda: home.registry.blindness() is None)


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
async def test_a_set_is_found_by_who_asks_for_it_before_the_next_look(tmp_path: Path) -> None:
    home = Home(tmp_path)
    publish(home.own)
    async with running(home):
        path = publish(home.own, name="fresh")
        assert await home.version("fresh") == path.name
        newer = publish(home.own, name="fresh", created_at="2026-02-02T03:04:05+00:00")
        assert await home.version(f"fresh@{newer.name}") == newer.name


@pytest.mark.asyncio
async def test_what_a_name_can_mean_is_looked_for_where_it_is_unknown(tmp_path: Path) -> None:
    home = Home(tmp_path)
    publish(home.own)
    async with running(home):
        new = publish(home.own, name="other")
        for reference in ("other", f"other@{new.name}"):
            (found,) = await home.registry.states_named(reference)
            assert (found.name, found.version, found.is_current) == ("other", new.name, True)
        assert await home.registry.states_named("third") == []


@pytest.mark.asyncio
async def test_unknown_names_share_a_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, looks, scan = Home(tmp_path), [], AdapterStore.scan
    publish(home.own)
    async with running(home):
        monkeypatch.setattr(AdapterStore, "scan", lambda *arguments: looks.append(1) or scan(*arguments))
        asked = [home.version(f"unknown-{number}") for number in range(50)]
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert all(isinstance(outcome, AdapterSetNotFound) for outcome in outcomes)
    assert len(looks) == 1


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

    monkeypatch.setattr(adapter_store, "read_adapter_set", read)
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


@pytest.mark.asyncio
async def test_a_set_that_fails_in_its_slot_is_refused_and_leaves_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter_registry, "_MANY_ARRIVALS", 1)  # so that they are listed before they are checked
    home = Home(tmp_path, num_slots=2)
    publish(home.own)
    bad = publish(home.own, name="other")
    async with running(home):
        assert f"other@{bad.name}" not in home.bank.tried
        home.bank.trial_error = WeightsCorrupted("was tried, and the z of a text is not finite")
        with pytest.raises(WeightsCorrupted, match="was tried"):
            await home.version("other")
        assert home.state(bad).problem == "was tried, and the z of a text is not finite"
        assert f"other@{bad.name}" not in home.bank.contents.values()
        home.bank.trial_error = None
        assert await home.version("demo")


@pytest.mark.asyncio
async def test_a_trial_that_ends_early_leaves_nothing_in_its_slot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The slot was free and its set still counted in the bank, where nobody could unload it."""
    monkeypatch.setattr(adapter_registry, "_MANY_ARRIVALS", 1)
    home = Home(tmp_path, num_slots=3)
    publish(home.own)
    other = publish(home.own, name="other")
    async with running(home):
        for error in (EngineStopped("starting"), MemoryError(), RuntimeError("something nobody thought of")):
            home.bank.trial_error = error
            with pytest.raises(type(error)):
                await home.version("other")
            assert f"other@{other.name}" not in home.bank.contents.values()
        home.bank.trial_error = None
        assert await home.version("other") == other.name


@pytest.mark.asyncio
async def test_a_set_that_was_tried_in_its_slot_is_not_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter_registry, "_MANY_ARRIVALS", 1)  # so that they are listed before they are checked
    home = Home(tmp_path, num_slots=1)
    publish(home.own)
    other = publish(home.own, name="other")
    async with running(home):
        assert not home.bank.tried
        for name in ("other", "demo", "other"):
            await home.version(name)
        assert home.bank.tried.count(f"other@{other.name}") == 1
