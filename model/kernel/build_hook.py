"""Compiles the blocks and the layers around z while adavae is being installed: a hook of hatchling, the build backend.

Without a C++ compiler, or on another processor than x86-64, the package is installed all the same and computes
through PyTorch. ``python model/kernel/build_hook.py`` compiles again after a change.
"""

import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_HERE = Path(__file__).parent
_SOURCES = ("decode_step.cpp", "encode.cpp", "latent.cpp", "program.cpp", "team.cpp")
_FLAGS = (
    *("-std=c++20", "-O3", "-fopenmp-simd", "-fno-math-errno", "-fno-trapping-math"),
    *("-fPIC", "-shared", "-pthread", "-static-libstdc++", "-static-libgcc"),
    *("-fvisibility=hidden", "-fvisibility-inlines-hidden"),
    *("-Wall", "-Wextra", "-Wno-maybe-uninitialized"),  # which gcc 12 finds in its own header
)
_MARCH = {"avx512": "x86-64-v4", "avx2": "x86-64-v3"}


class KernelBuildHook(BuildHookInterface[Any]):
    """Puts the compiled library into the wheel, which then is for this system alone."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        del version
        if self.target_name != "wheel":
            return
        try:
            built = build(_HERE)
        except NotBuilt as exc:
            self.app.display_warning(f"adavae: decoding goes through PyTorch, at a third of the speed: {exc}")
            return
        build_data["artifacts"] += [f"/{path.relative_to(self.root).as_posix()}" for path in built]
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"


class NotBuilt(Exception):
    """Why there is no compiled library."""


def build(directory: Path, environ: Mapping[str, str] = os.environ) -> list[Path]:
    """Compiles every variant into ``directory``; what was there before is replaced, or removed where that fails.

    Raises:
        NotBuilt: No compiler, not the processor it is for, or the compiler refuses.
    """
    targets = {directory / f"kernel_{name}.so": march for name, march in _MARCH.items()}
    for target in targets:
        target.unlink(missing_ok=True)
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise NotBuilt(f"the compiled step is for Linux on x86-64, this is {sys.platform} on {platform.machine()}")
    compiler = _compiler(environ)
    runs = {target: _start(compiler, march, target) for target, march in targets.items()}
    outputs = {target: run.communicate()[0] for target, run in runs.items()}
    for target, run in runs.items():
        if run.returncode:
            for built in targets:
                built.unlink(missing_ok=True)
            raise NotBuilt(f"{compiler} failed:\n{outputs[target][-2000:]}")
    return list(targets)


def _compiler(environ: Mapping[str, str]) -> str:
    for name in (environ["CXX"],) if environ.get("CXX") else ("c++", "g++", "clang++"):
        found = shutil.which(name, path=environ.get("PATH"))
        if found is not None:
            return found
    raise NotBuilt("no C++ compiler was found (c++, g++ or clang++; CXX names another): install one and repeat")


def _start(compiler: str, march: str, target: Path) -> "subprocess.Popen[str]":
    sources = [str(_HERE / source) for source in _SOURCES]
    command = [compiler, *_FLAGS, f"-march={march}", *sources, "-o", str(target)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


if __name__ == "__main__":
    try:
        for path in build(_HERE):
            sys.stdout.write(f"{path}\n")
    except NotBuilt as exc:
        sys.exit(str(exc))
