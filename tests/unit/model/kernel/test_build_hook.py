"""Compiling at installation, and installing where nothing can be compiled."""

import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import time
import zipfile
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

from adavae.model.kernel import build_hook
from adavae.model.kernel.build_hook import NotBuilt, build, link_root
from tests.compose_file import REPOSITORY

NAMES_OF = {"x86_64": ["kernel_avx2.so", "kernel_avx512.so"], "aarch64": ["kernel_neon.so"]}
NAMES = NAMES_OF.get(platform.machine(), [])
IS_FOR_THIS_SYSTEM = sys.platform == "linux" and bool(NAMES)
IS_X86 = platform.machine() == "x86_64"


def compiled_into(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.glob("*.so"))


HAS_COMPILER = IS_FOR_THIS_SYSTEM and shutil.which("c++") is not None
NEEDS_COMPILER = "needs a C++ compiler on Linux, x86-64 or aarch64"


@pytest.mark.skipif(not HAS_COMPILER, reason=NEEDS_COMPILER)
def test_every_variant_is_compiled_without_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adavae.model.kernel.build_hook._FLAGS", [*own_flags(), "-Werror"])
    assert sorted(path.name for path in build(tmp_path)) == NAMES == compiled_into(tmp_path)


def own_flags() -> tuple[str, ...]:
    return build_hook._FLAGS


def test_without_a_compiler_nothing_stale_is_left(tmp_path: Path) -> None:
    for name in (*NAMES_OF["x86_64"], *NAMES_OF["aarch64"]):  # of any machine that has this folder mounted
        (tmp_path / name).touch()
    with pytest.raises(NotBuilt, match=r"no C\+\+ compiler" if IS_FOR_THIS_SYSTEM else "they are for Linux"):
        build(tmp_path, {"PATH": str(tmp_path)})
    assert compiled_into(tmp_path) == []


@pytest.mark.skipif(not IS_FOR_THIS_SYSTEM, reason="compiles nothing here")
def test_a_compiler_that_fails_is_quoted_and_nothing_stale_is_left(tmp_path: Path) -> None:
    compiler = tmp_path / "broken"
    compiler.write_text("#!/bin/sh\necho no such architecture\nexit 1\n")
    compiler.chmod(0o755)
    (tmp_path / NAMES[0]).touch()
    with pytest.raises(NotBuilt, match="no such architecture"):
        build(tmp_path, {"CXX": str(compiler)})
    assert compiled_into(tmp_path) == []


@pytest.mark.skipif(not IS_FOR_THIS_SYSTEM, reason="compiles nothing here")
def test_a_compiler_that_hangs_is_given_up_with_all_that_it_started(tmp_path: Path) -> None:
    compiler = tmp_path / "hanging"
    compiler.write_text(f"#!/bin/sh\nsleep 600 &\necho $! >> {tmp_path}/started\nwait\n")
    compiler.chmod(0o755)
    with pytest.raises(NotBuilt, match=r"given up after 0\.5 s"):
        build(tmp_path, {"CXX": str(compiler), "PATH": os.environ["PATH"]}, longest_s=0.5)
    for process in (tmp_path / "started").read_text().split():
        assert _ends(process)


def _ends(process: str, within_s: float = 10.0) -> bool:
    """Whether a process that was sent SIGKILL is gone; on a busy machine that takes a moment."""
    until = time.monotonic() + within_s
    while _runs(process) and time.monotonic() < until:
        time.sleep(0.01)
    return not _runs(process)


def _runs(process: str) -> bool:
    try:
        return Path("/proc", process, "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="compiles nothing here")
@pytest.mark.parametrize("knows", [True, False])
def test_the_tiles_of_amx_are_compiled_where_compiler_and_assembler_know_them(tmp_path: Path, knows: bool) -> None:
    build(tmp_path, _recorder(tmp_path, knows_tiles=knows), machine="x86_64")
    probe, *variants = (tmp_path / "asked").read_text().splitlines()
    assert "tiles.cpp" in probe and len(variants) == 2
    assert all(("-DADAVAE_AMX" in asked) is knows for asked in variants)


@pytest.mark.skipif(sys.platform != "linux", reason="compiles nothing here")
def test_on_arm_there_is_one_variant_which_every_such_processor_runs(tmp_path: Path) -> None:
    (built,) = build(tmp_path, _recorder(tmp_path), machine="aarch64")
    (asked,) = (tmp_path / "asked").read_text().splitlines()
    assert built.name == "kernel_neon.so" and f"-o {built}" in asked
    assert "-march=armv8-a " in asked and "AMX" not in asked


def _recorder(folder: Path, *, knows_tiles: bool = True) -> dict[str, str]:
    """An environment whose compiler notes what it is asked for and makes empty files."""
    compiler = folder / "compiler"
    compiler.write_text(
        f'#!/bin/sh\necho "$@" >> {folder}/asked\n'
        f'case "$*" in *tiles.cpp*) exit {int(not knows_tiles)};; esac\n'
        'for argument; do case "$last" in -o) : > "$argument";; esac; last="$argument"; done\n'
    )
    compiler.chmod(0o755)
    return {"CXX": str(compiler), "PATH": os.environ["PATH"]}


@pytest.mark.parametrize(
    ("system", "machine"), [("darwin", "arm64"), ("darwin", "x86_64"), ("linux", "riscv64"), ("win32", "AMD64")]
)
def test_elsewhere_it_says_what_it_is_for_and_asks_for_no_compiler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, system: str, machine: str
) -> None:
    environ = _recorder(tmp_path)
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    with pytest.raises(NotBuilt, match=f"they are for Linux on x86_64 and aarch64, this is {system} on {machine}"):
        build(tmp_path, environ)
    assert not (tmp_path / "asked").exists()


@pytest.mark.skipif(not HAS_COMPILER or not IS_X86, reason="needs a C++ compiler on x86-64 Linux")
@pytest.mark.parametrize("source", ["int8_amx.cpp", "processor.cpp"])
def test_without_the_tiles_their_files_still_compile(source: str) -> None:
    code = Path(build_hook.__file__).parent / "csrc" / source
    command = ["c++", "-std=c++20", "-Wall", "-Wextra", "-Werror", "-march=x86-64-v4", "-fsyntax-only", str(code)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not HAS_COMPILER, reason=NEEDS_COMPILER)
def test_a_place_that_cannot_be_written_is_no_failure_of_the_installation(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotBuilt, match="Not a directory"):
        build(tmp_path / "file")


def test_an_editable_install_has_links_to_the_checkout(tmp_path: Path) -> None:
    checkout = _checkout(tmp_path)
    assert link_root(checkout, tmp_path) == {}
    assert link_root(checkout, tmp_path) == {}, "again, over the links that are there"
    assert _imported_from(checkout / "build" / "editable") == str(checkout / "model" / "place.py")
    shutil.move(checkout, tmp_path / "moved")
    assert _imported_from(tmp_path / "moved" / "build" / "editable") == str(tmp_path / "moved" / "model" / "place.py")


def test_an_editable_install_of_a_checkout_that_cannot_be_written_finds_it_at_run_time(tmp_path: Path) -> None:
    checkout = _checkout(tmp_path)
    (checkout / "build").touch()  # where the links would be
    ((package, name),) = link_root(checkout, tmp_path).items()
    site = tmp_path / "site"
    (site / "adavae").mkdir(parents=True)
    shutil.copyfile(package, site / name)
    assert _imported_from(site) == str(checkout / "model" / "place.py")


def _checkout(home: Path) -> Path:
    checkout = home / "checkout"
    for name, content in {"model/place.py": "", "service/package.py": "", "service/py.typed": ""}.items():
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).write_text(content)
    return checkout


def _imported_from(path: Path) -> str:
    """The real file that a new interpreter with ``path`` in front imports."""
    program = (
        f"import sys; sys.path.insert(0, {str(path)!r}); import adavae.model.place as place; print(place.__file__)"
    )
    done = subprocess.run([sys.executable, "-Ic", program], capture_output=True, text=True, check=True)
    return os.path.realpath(done.stdout.strip())


def test_the_wheel_is_made_without_a_compiler_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert _wheel_of(_package(tmp_path)).name.endswith("-py3-none-any.whl")


def test_the_wheel_is_made_on_macos_too_and_it_is_told_who_computes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    package = _package(tmp_path)
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    assert _wheel_of(package).name.endswith("-py3-none-any.whl")
    printed = capsys.readouterr()
    assert "PyTorch decodes" in printed.out + printed.err and "darwin on arm64" in printed.out + printed.err


@pytest.mark.skipif(sys.platform != "linux", reason="compiles nothing here")
def test_a_wheel_made_on_arm_is_for_such_machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = _package(tmp_path)
    monkeypatch.setenv("CXX", _recorder(tmp_path)["CXX"])
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    monkeypatch.setattr(sysconfig, "get_platform", lambda: "linux-aarch64")
    wheel = _wheel_of(package)
    assert wheel.name.endswith("-py3-none-linux_aarch64.whl")
    with zipfile.ZipFile(wheel) as files:
        assert [name for name in files.namelist() if name.endswith(".so")] == ["adavae/model/kernel/kernel_neon.so"]


def _package(folder: Path) -> Path:
    """What the wheel is made from, without weights."""
    package = folder / "package"
    package.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copyfile(REPOSITORY / name, package / name)
    for part in ("model/kernel", "service"):
        shutil.copytree(REPOSITORY / part, package / part, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    (package / "weights").mkdir()
    return package


def _wheel_of(package: Path) -> Path:
    (wheel,) = WheelBuilder(str(package)).build(directory=str(package / "made"))
    return Path(wheel)
