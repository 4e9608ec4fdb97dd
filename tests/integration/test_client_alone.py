"""The client as a distribution of its own: without torch, and with no more of adavae than it imports."""

import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

from tests.compose_file import REPOSITORY
from tests.integration.real_server import serving
from tests.unit.service.stub_latent_service import StubLatentService
from tests.unit.service.stub_training_service import StubTrainingService

CLIENT = REPOSITORY / "service" / "client"
_PROGRAM = """
import sys

url, site, *allowed = sys.argv[1:]
allowed = {*allowed, *sys.stdlib_module_names, "adavae"}

class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in allowed:
            raise ModuleNotFoundError(f"{name} is not installed", name=name)

sys.meta_path.insert(0, Nothing())
import adavae
from adavae.service.client.async_latent import AsyncAdaVAEClient
from adavae.service.client.training import TrainingClient

assert adavae.__file__.startswith(site), adavae.__file__
with adavae.Client(url) as client:
    z = client.encode(["the food was great.", "never again."])
    assert z.shape == (2, 32), z.shape
    assert len(client.decode(z)) == 2
    assert client.classify(adavae.pair("it rains .", "it is wet ."))
    assert len(client.interpolate("a", "b", steps=5)) == 5
with TrainingClient(url) as training:
    assert [job["status"] for job in training.jobs()] == ["succeeded"]
try:
    adavae.load("yelp")
except ImportError as exc:
    assert "this is adavae's client alone" in str(exc), exc
else:
    raise AssertionError("there is nothing to load a set with")
loaded = {name for name in sys.modules if name.partition(".")[0] == "adavae"}
print("\\n".join(sorted(loaded)))
"""
_NEEDED = (
    "httpx2",
    "numpy",
    "httpcore2",
    "anyio",
    "h11",
    "idna",
    "truststore",
    "typing_extensions",
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    (made,) = WheelBuilder(str(CLIENT)).build(directory=str(tmp_path_factory.mktemp("made")), versions=["standard"])
    return Path(made)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving(StubLatentService(), StubTrainingService()) as url:
        yield url


def test_it_works_where_nothing_else_is_installed(wheel: Path, url: str, tmp_path: Path) -> None:
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, url, str(site), *_NEEDED],
        cwd=tmp_path,
        env={"PYTHONPATH": str(site), "PATH": "", "ADAVAE_API_KEY": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"are all files in service/client/pyproject.toml? {done.stderr}"
    files = {path.relative_to(site).with_suffix("").as_posix() for path in (site / "adavae").rglob("*.py")}
    assert {name.replace("/", ".").removesuffix(".__init__") for name in files} == set(done.stdout.split())


def test_it_is_small_pure_and_of_the_same_version(wheel: Path) -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert wheel.name == f"adavae_client-{project['version']}-py3-none-any.whl"
    assert wheel.stat().st_size < 100_000


def test_what_it_needs_is_what_adavae_needs_too() -> None:
    needs = [
        tomllib.loads(path.read_text(encoding="utf-8"))["project"]["dependencies"]
        for path in (CLIENT / "pyproject.toml", REPOSITORY / "pyproject.toml")
    ]
    assert set(needs[0]) <= set(needs[1])
