"""An output has one writer at a time."""

import subprocess
import sys
from pathlib import Path

import pytest
import typer

from adavae.service.commands.output_lock import sole_writer


def test_an_output_is_held_by_one_and_then_by_the_next(tmp_path: Path) -> None:
    output = tmp_path / "rows.csv"
    for _ in range(2):
        with sole_writer(output):
            with (
                pytest.raises(typer.BadParameter, match=r"rows\.csv: another command writes it now"),
                sole_writer(output),
            ):
                pass
            with sole_writer(tmp_path / "others.csv"):
                pass
    assert list(tmp_path.iterdir()) == []


def test_a_writer_that_was_killed_holds_nothing(tmp_path: Path) -> None:
    output = tmp_path / "folder"
    program = (
        "import os, sys; from pathlib import Path; from adavae.service.commands.output_lock import sole_writer\n"
        "with sole_writer(Path(sys.argv[1])): os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", program, str(output)], check=False).returncode == -9
    assert (tmp_path / "folder.lock").exists()
    with sole_writer(output):
        pass
    assert not (tmp_path / "folder.lock").exists()


def test_a_folder_that_takes_no_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(typer.BadParameter, match="choose another folder"), sole_writer(tmp_path / "no" / "rows.csv"):
        pass
