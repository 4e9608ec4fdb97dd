"""What is built when adavae is installed: the compiled library, and one root for both packages.

A hook of hatchling, the build backend. Once installed, everything is under ``adavae``: a wheel has ``model`` and
``service`` there as files; an editable install has ``build/editable`` on the path, where they are links.

Without a C++ compiler, or on another system than Linux on x86-64 or aarch64, the package is still installed and
computes with PyTorch. ``python model/kernel/build_hook.py`` compiles again after a change.
"""

import os
import platform
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_HERE = Path(__file__).parent
_SOURCES = (
    *("cross_entropy.cpp", "decode_step.cpp", "encode.cpp", "flow.cpp", "gelu.cpp", "int8_amx.cpp", "int8_udot.cpp"),
    *("int8_vnni.cpp", "int8_words.cpp", "latent.cpp", "layout.cpp", "linear.cpp"),
    *("processor.cpp", "program.cpp", "team.cpp"),
)
_FLAGS = (
    *("-std=c++20", "-O3", "-fopenmp-simd", "-fno-math-errno", "-fno-trapping-math"),
    *("-fPIC", "-shared", "-pthread", "-static-libstdc++", "-static-libgcc"),
    *("-fvisibility=hidden", "-fvisibility-inlines-hidden"),
    *("-Wall", "-Wextra", "-Wno-maybe-uninitialized"),  # which gcc 12 reports in one of its headers
)
# Variants by machine. On ARM gcc would schedule instructions before it looks for registers: it would load every row's
# number in front of the multiply-adds, and keep sums in memory for want of registers.
_VARIANTS: dict[str, dict[str, tuple[str, ...]]] = {
    "x86_64": {"avx512": ("-march=x86-64-v4",), "avx2": ("-march=x86-64-v3",)},
    "aarch64": {"neon": ("-march=armv8-a", "-fno-schedule-insns")},
}
# Whether compiler and assembler know the tiles of AMX (g++ 11, binutils 2.35); without them VNNI multiplies int8.
_TILES = """
#include <immintrin.h>
[[gnu::target("amx-tile,amx-int8")]] void probe() { _tile_dpbusd(0, 1, 2); }
"""
_WITHOUT = "PyTorch decodes, on x86-64 at a third of the speed of the compiled blocks"
_LONGEST_S = 600.0  # longest time to compile; usually it takes ten seconds

_ROOT_FILES = {"service/package.py": "__init__.py", "service/py.typed": "py.typed"}  # of ``adavae``
_LINKS = {**_ROOT_FILES, "model": "model", "service": "service"}
_EDITABLE = "build/editable"  # on the path of an editable install: see dev-mode-dirs in pyproject.toml


class BuildHook(BuildHookInterface[Any]):
    """Puts the root's files and the compiled library into the wheel, which is then for this system only."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self.target_name != "wheel":
            return
        root = Path(self.root)
        self._made = Path(tempfile.mkdtemp(prefix="adavae-build-"))
        if version == "editable":
            build_data["force_include_editable"] = link_root(root, self._made)
            self._compile_into(_HERE)
            return
        build_data["force_include"] |= {str(root / source): f"adavae/{name}" for source, name in _ROOT_FILES.items()}
        built = self._compile_into(self._made)
        if built:
            build_data["force_include"] |= {str(path): f"adavae/model/kernel/{path.name}" for path in built}
            build_data["pure_python"] = False
            build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        del version, build_data, artifact_path
        if self.target_name == "wheel":
            shutil.rmtree(self._made, ignore_errors=True)

    def _compile_into(self, directory: Path) -> list[Path]:
        try:
            return build(directory)
        except NotBuilt as exc:
            self.app.display_warning(f"adavae: {_WITHOUT}: {exc}")
            return []


def link_root(root: Path, made: Path) -> dict[str, str]:
    """Makes ``adavae`` for an editable install, from links, so that type checkers and editors follow it too.

    Returns:
        What to put into site-packages besides the path to the links: nothing, or, if the checkout cannot be written,
        an ``adavae`` that finds the checkout at run time.
    """
    home = root / _EDITABLE / "adavae"
    try:
        home.mkdir(parents=True, exist_ok=True)
        for source, name in _LINKS.items():
            link, target = home / name, os.path.relpath(root / source, home)
            if not link.is_symlink() or os.readlink(link) != target:
                link.unlink(missing_ok=True)
                link.symlink_to(target)
    except OSError:
        package = made / "__init__.py"
        source = (root / "service" / "package.py").read_text(encoding="utf-8")
        package.write_text(f"{source}\n__path__.append({str(root)!r})\n", encoding="utf-8")
        return {str(package): "adavae/__init__.py"}
    return {}


class NotBuilt(Exception):
    """Why there is no compiled library."""


def build(
    directory: Path,
    environ: Mapping[str, str] = os.environ,
    longest_s: float = _LONGEST_S,
    more_flags: Sequence[str] = (),
    machine: str | None = None,
) -> list[Path]:
    """Compiles every variant into ``directory``; old ones are replaced, or removed if compiling fails.

    For a library that is tested and not installed, ``more_flags`` follow the usual ones, and ``machine`` is another
    than this one, for which ``CXX`` in ``environ`` compiles.

    Raises:
        NotBuilt: No compiler, an unsupported processor, nowhere to write, or the compiler fails or hangs.
    """
    machine = platform.machine() if machine is None else machine
    old = [directory / f"kernel_{name}.so" for variants in _VARIANTS.values() for name in variants]
    targets = {directory / f"kernel_{name}.so": flags for name, flags in _VARIANTS.get(machine, {}).items()}
    try:
        _remove(old)
        if sys.platform != "linux" or not targets:
            raise NotBuilt(f"they are for Linux on {' and '.join(_VARIANTS)}, this is {sys.platform} on {machine}")
        compiler = compiler_of(environ)
        tiles = ("-DADAVAE_AMX",) if machine == "x86_64" and knows_tiles(compiler, longest_s) else ()
        _compile([compiler, *_FLAGS, *tiles, *more_flags], targets, longest_s)
    except (OSError, NotBuilt) as exc:
        _remove(old, missing_right_ok=True)
        raise NotBuilt(str(exc)) from exc
    return list(targets)


def knows_tiles(compiler: str, longest_s: float = _LONGEST_S) -> bool:
    """Whether AMX can be compiled; raises NotBuilt if the compiler hangs."""
    with tempfile.TemporaryDirectory() as made:
        probe = Path(made) / "tiles.cpp"
        probe.write_text(_TILES, encoding="utf-8")
        run = _start([compiler, "-std=c++20", "-c", str(probe), "-o", str(probe.with_suffix(".o"))])
        _wait_for(run, compiler, longest_s)
        return run.returncode == 0


def _compile(command: Sequence[str], targets: Mapping[Path, Sequence[str]], longest_s: float) -> None:
    sources = [str(_HERE / "csrc" / source) for source in _SOURCES]
    runs = [_start([*command, *flags, *sources, "-o", str(target)]) for target, flags in targets.items()]
    try:
        for run in runs:
            output = _wait_for(run, command[0], longest_s)
            if run.returncode:
                raise NotBuilt(f"{command[0]} failed:\n{output[-2000:]}")
    finally:
        for run in runs:
            _end(run)


def _wait_for(run: "subprocess.Popen[str]", compiler: str, longest_s: float) -> str:
    """What a compiler prints until it ends; raises NotBuilt, and ends it, if that takes too long."""
    try:
        return run.communicate(timeout=longest_s)[0]
    except subprocess.TimeoutExpired:
        raise NotBuilt(f"{compiler} was given up after {longest_s:g} s") from None
    finally:
        _end(run)


def _end(run: "subprocess.Popen[str]") -> None:
    """Ends a compiler that is still running, with the processes it has started."""
    if run.poll() is None:
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
    if run.stdout is not None:
        run.stdout.close()


def _remove(targets: Sequence[Path], *, missing_right_ok: bool = False) -> None:
    for target in targets:
        try:
            target.unlink(missing_ok=True)
        except OSError:
            if not missing_right_ok:
                raise


def compiler_of(environ: Mapping[str, str]) -> str:
    """The C++ compiler of this machine; raises NotBuilt if there is none."""
    for name in (environ["CXX"],) if environ.get("CXX") else ("c++", "g++", "clang++"):
        found = shutil.which(name, path=environ.get("PATH"))
        if found is not None:
            return found
    raise NotBuilt("no C++ compiler was found (c++, g++ or clang++; CXX names another): install one and repeat")


def _start(command: Sequence[str]) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


if __name__ == "__main__":
    try:
        for path in build(_HERE):
            sys.stdout.write(f"{path}\n")
    except NotBuilt as exc:
        sys.exit(str(exc))
