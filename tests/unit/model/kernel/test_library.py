"""A compiled library that is not ours, or not of this version, is left alone."""

import logging
import platform
import shutil
from collections.abc import Iterator
from ctypes import Structure, c_int64
from pathlib import Path

import pytest
import torch

from adavae.model.kernel import library
from adavae.model.kernel.library import Outcome, check, opened, variant
from tests.parity.compiled import best_compiled

_ONLY_WITHIN_OTHERS = {"MatrixFields", "NormFields", "LayerFields", "AdapterFields"}


@pytest.fixture
def built() -> Path:
    """The library that serves here, found before anything is changed."""
    return Path(library.__file__).with_name(f"kernel_{best_compiled().instructions}.so")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the variant "avx2" is looked for."""
    monkeypatch.setattr(library, "__file__", str(tmp_path / "library.py"))
    return tmp_path / "kernel_avx2.so"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Variants that are looked for, of which none is there."""
    names: list[str] = []
    monkeypatch.setattr(library, "variant", names.append)  # whose answer is None
    library.library.cache_clear()
    yield names
    library.library.cache_clear()


@pytest.mark.parametrize(
    ("machine", "capability", "variants"),
    [
        ("x86_64", "AVX512", ["avx512", "avx2"]),
        ("x86_64", "AVX2", ["avx2"]),
        ("x86_64", "DEFAULT", []),
        ("aarch64", "DEFAULT", ["neon"]),
        ("aarch64", "SVE256", ["neon"]),
        ("arm64", "DEFAULT", []),  # as macOS calls it
    ],
)
def test_what_is_looked_for_is_what_the_processor_runs(
    asked: list[str], monkeypatch: pytest.MonkeyPatch, machine: str, capability: str, variants: list[str]
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert library.library() is None
    assert asked == variants


def test_what_was_not_built_is_no_news(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert not place.exists()
    assert variant("avx2") is None
    assert not caplog.records


@pytest.mark.parametrize("content", [b"", b"\x7fELF of another system", b"no library at all"])
def test_a_file_that_is_no_library_is_left_alone_with_a_line_in_the_log(
    content: bytes, place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert variant("avx2") is None
    assert "PyTorch computes instead" in caplog.text


def test_a_library_of_somebody_else_is_left_alone(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    math = next((path for path in map(Path, _mapped()) if path.name.startswith("libm.so")), None)
    if math is None:
        pytest.skip("no shared libm here")
    shutil.copyfile(math, place)
    assert variant("avx2") is None
    assert "adavae_layout" in caplog.text


def test_a_library_made_from_other_headers_is_left_alone(
    built: Path, place: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its structures would be read as something else: wrong numbers, or a crash."""
    shutil.copyfile(built, place)
    assert opened(place, "avx2").instructions == "avx2"
    monkeypatch.setattr(library, "_layout", lambda: 7)
    assert variant("avx2") is None
    assert "another version of adavae" in caplog.text


@pytest.mark.parametrize(
    "passed",
    sorted({name for name in vars(library) if name.endswith("Fields")} - _ONLY_WITHIN_OTHERS),
)
def test_the_layout_tells_of_every_structure(passed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """That of the latent memory was passed without being looked at, so a stale library would have read it."""
    layout = library._layout()
    fields = getattr(library, passed)._fields_
    monkeypatch.setattr(library, passed, type(passed, (Structure,), {"_fields_": [*fields, ("more", c_int64)]}))
    assert library._layout() != layout


@pytest.mark.parametrize(
    ("outcome", "error"),
    [
        (Outcome.TOKEN_OUT_OF_RANGE, IndexError),
        (Outcome.TOO_LONG, IndexError),
        (Outcome.NO_MEMORY, MemoryError),
        (Outcome.FAILED, RuntimeError),
    ],
)
def test_every_outcome_but_one_is_an_error(outcome: Outcome, error: type[Exception]) -> None:
    check(Outcome.DONE)
    with pytest.raises(error, match=r"compiled code|vocabulary"):
        check(outcome)


def _mapped() -> set[str]:
    """Shared libraries of this process."""
    maps = Path("/proc/self/maps")
    return {line.split()[-1] for line in maps.read_text().splitlines() if ".so" in line} if maps.exists() else set()
