"""The tests of the compiled code once more, over a library that AddressSanitizer and UBSan watch.

``python -m tests.sanitized_kernel`` compiles it into a folder of its own and runs them; a report of either ends a test
run at once, with another exit status than 0. Where the compiler has no sanitizers it says so and ends well. As a plugin
of pytest (which it makes itself) it puts that library in the place of the usual one.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from adavae.model.kernel import library
from adavae.model.kernel.build_hook import NotBuilt, build, compiler_of

_FOLDER = "ADAVAE_TEST_SANITIZED_KERNEL"
_TESTS = ("decode", "encode", "flow", "gelu", "int8", "latent", "loss", "products")
_FLAGS = (
    *("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer", "-O1", "-g"),
    "-shared-libgcc",
)
_RUNTIMES = ("libasan.so", "libubsan.so", "libstdc++.so.6")  # before everything else that Python loads


def pytest_configure() -> None:
    """Every test that asks for the compiled code gets the watched one."""
    folder = Path(os.environ[_FOLDER])

    def watched(instructions: str) -> library.Library:
        return library.opened(folder / f"kernel_{instructions}.so", instructions)

    library.variant = watched
    library.library.cache_clear()


def runtimes() -> list[str]:
    """The sanitizers' own libraries; none where the compiler lacks one."""
    found = []
    for name in _RUNTIMES:
        command = [compiler_of(os.environ), f"-print-file-name={name}"]
        path = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        if not Path(path).is_absolute():
            return []
        found.append(str(Path(path).resolve()))
    return found


def main() -> int:
    try:
        preloaded = runtimes()
    except NotBuilt as exc:
        sys.stdout.write(f"the compiled code was not examined: {exc}\n")
        return 0
    if not preloaded:
        sys.stdout.write(f"the compiled code was not examined: {compiler_of(os.environ)} has no sanitizers\n")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        build(Path(folder), more_flags=_FLAGS)
        tests = [f"tests/parity/test_kernel_{name}.py" for name in _TESTS]
        environ = {
            **os.environ,
            _FOLDER: folder,
            "LD_PRELOAD": ":".join(preloaded),
            "ASAN_OPTIONS": "detect_leaks=0:halt_on_error=1",  # Python itself never gives everything back
            "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
        }
        command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.sanitized_kernel", *tests, *sys.argv[1:]]
        return subprocess.run(command, env=environ, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
