"""What a name means, and what is shown of each version."""

from pathlib import Path

import pytest

from adavae.model.errors import AdapterSetNotFound
from tests.tiny import PLAIN, POOLED
from tests.tiny_sets import publish
from tests.unit.service.adapters.adapter_home import NEWER, NEWEST, Home, damage, running


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
    assert [(each.name, each.version) for each in listed] == [
        ("demo", newest.name),
        ("demo", older.name),
        ("demo", bundled.name),
        ("other", other.name),
    ]
    assert [each.is_current for each in listed] == [True, False, False, True]
    assert [each.is_default for each in listed] == [True, False, False, False]
    assert [each.is_bundled for each in listed] == [False, False, True, True]
    assert all(each.is_loaded and each.problem is None for each in listed)
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
async def test_an_own_copy_of_a_bundled_version_is_listed_once_and_either_serves(tmp_path: Path) -> None:
    home = Home(tmp_path)
    path, copy = publish(home.bundled), publish(home.own)
    async with running(home):
        assert not home.state(path).is_bundled
        damage(copy)
        await home.registry.refresh()
        assert home.state(path).is_bundled and home.state(path).problem is None
        assert await home.version() == path.name
