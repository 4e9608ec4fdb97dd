"""Compiling at installation, and installing where nothing can be compiled."""

import platform
import shutil
import sys
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

from model.kernel.build_hook import NotBuilt, build
from tests.compose_file import REPOSITORY

NAMES = ["kernel_avx2.so", "kernel_avx512.so"]
IS_FOR_THIS_SYSTEM = sys.platform == "linux" and platform.machine() == "x86_64"


def compiled_into(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.glob("*.so"))


@pytest.mark.skipif(not IS_FOR_THIS_SYSTEM or not shutil.which("c++"), reason="needs a C++ compiler on x86-64 Linux")
def test_every_variant_is_compiled_without_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("model.kernel.build_hook._FLAGS", [*own_flags(), "-Werror"])
    assert sorted(path.name for path in build(tmp_path)) == NAMES == compiled_into(tmp_path)


def own_flags() -> tuple[str, ...]:
    from model.kernel import build_hook

    return build_hook._FLAGS


def test_without_a_compiler_nothing_stale_is_left(tmp_path: Path) -> None:
    (tmp_path / NAMES[0]).touch()
    with pytest.raises(NotBuilt, match=r"no C\+\+ compiler" if IS_FOR_THIS_SYSTEM else "x86-64"):
        build(tmp_path, {"PATH": str(tmp_path)})
    assert compiled_into(tmp_path) == []


@pytest.mark.skipif(not IS_FOR_THIS_SYSTEM, reason="is for x86-64 Linux")
def test_a_compiler_that_fails_is_quoted_and_nothing_stale_is_left(tmp_path: Path) -> None:
    compiler = tmp_path / "broken"
    compiler.write_text("#!/bin/sh\necho no such architecture\nexit 1\n")
    compiler.chmod(0o755)
    (tmp_path / NAMES[0]).touch()
    with pytest.raises(NotBuilt, match="no such architecture"):
        build(tmp_path, {"CXX": str(compiler)})
    assert compiled_into(tmp_path) == []


def test_the_wheel_is_made_without_a_compiler_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copyfile(REPOSITORY / name, tmp_path / name)
    for part in ("model/kernel", "service"):
        shutil.copytree(REPOSITORY / part, tmp_path / part, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    (tmp_path / "weights").mkdir()
    monkeypatch.setenv("CXX", "no-such-compiler")
    (wheel,) = WheelBuilder(str(tmp_path)).build(directory=str(tmp_path / "made"))
    assert wheel.endswith("-py3-none-any.whl")
