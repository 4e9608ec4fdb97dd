"""Sets into a real S3 server and out of it: moto's."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from adavae.model.errors import AdapterSetExists, AdapterSetNotFound, WeightsCorrupted
from adavae.model.storage.adapter_store import AdapterStore
from adavae.model.storage.manifest import TENSORS
from adavae.service.sharing.errors import SharingError
from adavae.service.sharing.places import filesystem_place
from adavae.service.sharing.pull import pull
from adavae.service.sharing.push import push
from tests.integration.clients_environment import clients_python
from tests.tiny_sets import publish

MAX_BYTES = 1024**2


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """The address of the server."""
    command = [clients_python(), "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    assert server.stderr is not None
    try:
        found = next(filter(None, (re.search(r"http://127\.0\.0\.1:\d+", line) for line in server.stderr)), None)
        assert found is not None, "it did not start"
        yield found[0]
    finally:
        server.kill()
        server.wait()
        server.stderr.close()


@pytest.fixture
def bucket(s3: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    values = {"ENDPOINT_URL": s3, "ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b", "DEFAULT_REGION": "us-east-1"}
    for variable, value in values.items():
        monkeypatch.setenv(f"AWS_{variable}", value)
    name = re.sub(r"[^a-z0-9]", "-", tmp_path.name.lower())[-40:].strip("-")
    filesystem_place(f"s3://{name}/x").filesystem.mkdir(name)
    return f"s3://{name}"


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_a_set_goes_into_a_bucket_and_comes_back_and_a_changed_one_does_not(bucket: str, tmp_path: Path) -> None:
    there, here = AdapterStore(tmp_path / "there"), AdapterStore(tmp_path / "here")
    publish(there.root)
    for address in (f"{bucket}/sets/demo", f"{bucket}/demo.tar.gz"):
        pushed = push("demo", address, there)
        assert pull(pushed.pinned_address, here, max_bytes=MAX_BYTES).reference == pushed.reference
        assert here.read("demo").manifest == there.read("demo").manifest
        here.delete("demo")
    with pytest.raises(AdapterSetNotFound, match="s3://"):
        pull(f"{bucket}/sets/other", here, max_bytes=MAX_BYTES)
    place = filesystem_place(f"{bucket}/sets/demo")
    content = place.filesystem.cat_file(place.path_of(TENSORS))
    place.filesystem.pipe_file(place.path_of(TENSORS), content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(WeightsCorrupted, match="is damaged"):
        pull(f"{bucket}/sets/demo", here, max_bytes=MAX_BYTES)
    publish(there.root, created_at="2026-02-03T00:00:00+00:00")
    with pytest.raises(AdapterSetExists):
        push("demo", f"{bucket}/sets/demo", there)
    with pytest.raises((SharingError, AdapterSetNotFound)):
        push("demo", "s3://no-such-bucket-here/demo", there)
    assert here.list() == []
