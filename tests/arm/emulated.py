"""The library for ARM, compiled on whatever machine this is and run by qemu: a ``Library`` like any other."""

import ctypes
import os
import shutil
import struct
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ctypes import Structure
from pathlib import Path

import pytest

from adavae.model.kernel import library
from adavae.model.kernel.build_hook import build
from adavae.model.kernel.library import Int8Way, Library
from tests.arm.task_image import TaskImage

_COMPILER, _EMULATOR = "aarch64-linux-gnu-g++", "qemu-aarch64"
_SYSTEM = "/usr/aarch64-linux-gnu"  # where Debian and Ubuntu keep ARM's libc
_CALLER = Path(__file__).with_name("caller.cpp")
_CALL, _ABOUT, _OUTCOME = struct.Struct("=32s2QQQQ"), struct.Struct("=Qi"), struct.Struct("=i")
_FUNCTIONS = {
    "decode_step": (library.BackboneFields, library.StepFields),
    "encode": (library.BackboneFields, library.TextsFields),
    "posteriors": (library.PosteriorFields,),
    "latent_memory": (library.LatentMemoryFields,),
    "flow": (library.FlowFields, library.FlowPathFields),
    "linear": (library.LinearFields,),
    "gelu": (library.GeluFields,),
    "cross_entropy": (library.CrossEntropyFields,),
}


def compiled_for_arm(folder: Path) -> Path:
    """The compiled library's file, beside a program that calls it; skips the test where a tool is missing."""
    for tool, package in ((_COMPILER, "g++-aarch64-linux-gnu"), (_EMULATOR, "qemu-user")):
        if shutil.which(tool) is None:
            pytest.skip(f"there is no {tool} here (apt-get install {package})")
    environ = {**os.environ, "CXX": _COMPILER}
    caller = subprocess.Popen([_COMPILER, "-std=c++20", "-O1", str(_CALLER), "-o", str(folder / "caller")])
    (built,) = build(folder, environ, more_flags=("-Werror",), machine="aarch64")
    assert caller.wait() == 0
    return built


@contextmanager
def on_processor(built: Path, processor: str) -> Iterator[Library]:
    """That library as such a processor runs it, by qemu's name for it."""
    command = [_EMULATOR, "-cpu", processor, "-L", _SYSTEM, str(built.with_name("caller")), str(built)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        yield _Emulated(process).library()
        process.stdin.close()
    assert process.returncode == 0


class _Emulated:
    """A process that calls the library's functions."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process
        self.layout, self.has_dot = _ABOUT.unpack(self._read(_ABOUT.size))

    def library(self) -> Library:
        assert self.layout == library._layout(), "a structure has another size there"
        functions = {name: self._function(name, *kinds) for name, kinds in _FUNCTIONS.items()}
        return Library("neon", **functions, int8_way=Int8Way.DOT if self.has_dot else Int8Way.NONE)

    def _function(self, name: str, *kinds: type[Structure]) -> Callable[..., int]:
        """As ``ctypes`` gives it: takes what ``byref`` makes of each of ``kinds``."""

        def call(*references: object) -> int:
            pointers = zip(references, kinds, strict=True)
            arguments = [ctypes.cast(one, ctypes.POINTER(kind)).contents for one, kind in pointers]
            return self._call(f"adavae_{name}", TaskImage(arguments))

        return call

    def _call(self, function: str, image: TaskImage) -> int:
        sent = image.bytes
        places = [*image.arguments, 0][:2]
        sizes = len(image.arguments), len(image.pointers), len(sent)
        self._process.stdin.write(_CALL.pack(function.encode(), *places, *sizes))
        self._process.stdin.write(struct.pack(f"={len(image.pointers)}Q", *image.pointers))
        self._process.stdin.write(sent)
        self._process.stdin.flush()
        (outcome,) = _OUTCOME.unpack(self._read(_OUTCOME.size))
        image.take_back(sent, self._read(len(sent)))
        return outcome

    def _read(self, count: int) -> bytes:
        read = self._process.stdout.read(count)
        assert len(read) == count, f"the emulated process has ended with {self._process.wait()}"
        return read
