"""A map over the real service: the points are those of the encodings, however many requests they take."""

import io
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest

from adavae.model.errors import AdapterSetNotFound, WeightsCorrupted
from adavae.model.latent.projections import principal_plane
from adavae.model.storage.manifest import CARD
from adavae.service.errors import InvalidRequest
from tests.tiny_sets import publish
from tests.unit.service.test_latent_service import running, text_model

TEXTS = [f"the food was number {number} ." for number in range(9)]


@pytest.mark.asyncio
async def test_points_are_the_projections_of_the_encodings_though_they_come_in_parts(tmp_path: Path) -> None:
    model = text_model(tmp_path)
    async with running(tmp_path, max_texts=4) as service:
        found = await service.map_texts(TEXTS, labels=None, method="pca", adapter="prefixed", truncate=False)
        expected = principal_plane(model.encode(TEXTS, "prefixed").mu.numpy())
        np.testing.assert_allclose(found.drawn.points, expected.points, atol=1e-4)
        assert found.drawn.plane is not None
        again = await service.map_texts(TEXTS, labels=None, method="tsne", adapter="prefixed", truncate=False)
        assert all(row.is_cached for row in again.rows)
        assert again.drawn.plane is None


@pytest.mark.asyncio
async def test_a_text_that_is_too_long_is_named_by_its_place_in_the_whole_request(tmp_path: Path) -> None:
    async with running(tmp_path, max_texts=4) as service:
        texts = [*TEXTS[:6], "long " * 500]
        with pytest.raises(InvalidRequest) as refused:
            await service.map_texts(texts, labels=None, method="pca", adapter=None, truncate=False)
        assert refused.value.param == "texts[6]"


@pytest.mark.asyncio
async def test_a_set_gives_its_card_and_itself(tmp_path: Path) -> None:
    async with running(tmp_path) as service:
        assert (await service.adapter_card("prefixed")).startswith("# prefixed")
        download = await service.adapter_archive("prefixed")
        archive = b"".join(download.pieces)
        download.close()
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            names = sorted(Path(member.name).name for member in tar.getmembers())
        assert names == ["README.md", "adapter.safetensors", "manifest.json"]
        for asked in (service.adapter_card, service.adapter_archive):
            with pytest.raises(AdapterSetNotFound):
                await asked("gone")


@pytest.mark.asyncio
async def test_card_and_archive_are_of_the_version_that_serves(tmp_path: Path) -> None:
    """They were of the newest one, which may be another backbone's, or damaged."""
    async with running(tmp_path) as service:
        registry = service._parts.registry
        serving = await registry.find("prefixed")
        own = registry.store.root
        publish(own, name="prefixed", created_at="2099-01-01T00:00:00+00:00", backbone_digest="f" * 64, model_card="#")
        await registry.refresh()
        assert registry.store.resolve("prefixed").version != serving.version
        assert (await service.adapter_card("prefixed")).startswith("# prefixed")
        (await service.adapter_archive("prefixed")).close()


@pytest.mark.asyncio
async def test_what_is_wrong_with_a_sets_files_is_told_without_the_servers_directories(tmp_path: Path) -> None:
    async with running(tmp_path) as service:
        damaged = publish(service._parts.registry.store.root, name="damaged")
        await service._parts.registry.refresh()
        (damaged / CARD).unlink()
        for asked in (service.adapter_card, service.adapter_archive):
            with pytest.raises(WeightsCorrupted, match=f"damaged/{damaged.name}|damaged@") as refused:
                await asked("damaged")
            assert str(tmp_path) not in str(refused.value)


@pytest.mark.asyncio
async def test_a_set_that_others_have_just_deleted_is_not_found(tmp_path: Path) -> None:
    async with running(tmp_path) as service:
        path = publish(service._parts.registry.store.root, name="gone")
        await service._parts.registry.refresh()
        for asked in (service.adapter_card, service.adapter_archive):
            shutil.rmtree(path, ignore_errors=True)
            with pytest.raises(AdapterSetNotFound, match="there is no adapter set 'gone'"):
                await asked("gone")
