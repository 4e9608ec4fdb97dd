"""How often a source is seen, as it is typed."""

from pathlib import Path

import pytest
import typer

from adavae.service.commands.pretrain import _with_repeats


def test_a_source_names_its_file_and_how_often_it_is_seen() -> None:
    files, repeats = _with_repeats([Path("texts/general.txt.xz*1.5"), Path("reviews.txt"), Path("more.txt*2")])
    assert files == [Path("texts/general.txt.xz"), Path("reviews.txt"), Path("more.txt")]
    assert repeats == [1.5, 1.0, 2.0]


@pytest.mark.parametrize("source", ["a.txt*", "a.txt*often"])
def test_what_is_no_number_is_refused(source: str) -> None:
    with pytest.raises(typer.BadParameter, match="must be a number"):
        _with_repeats([Path(source)])
