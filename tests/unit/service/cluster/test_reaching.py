"""Where there is no Ray, or no cluster: one sentence with the remedy."""

import importlib
from typing import Any

import pytest

from adavae.service.cluster.reaching import NoCluster, NoRay, reach_cluster


def test_where_ray_is_missing_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str, *_: Any) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(NoRay, match=r"not installed here .*pip install 'adavae\[ray\]', on every machine"):
        reach_cluster()


@pytest.mark.parametrize("error", [ConnectionError("Could not find any running Ray instance"), ValueError("odd")])
@pytest.mark.parametrize(
    ("address", "where"), [(None, "belongs to no Ray cluster"), ("h:1", "no Ray cluster answers at h:1")]
)
def test_where_no_cluster_answers_the_message_says_how_to_start_one(
    monkeypatch: pytest.MonkeyPatch, error: Exception, address: str | None, where: str
) -> None:
    ray = pytest.importorskip("ray", reason="Ray is not installed (pip install 'adavae[ray]')")

    def init(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(NoCluster, match=rf"{where} .*`ray start --head` here.*--address or RAY_ADDRESS"):
        reach_cluster(address)
