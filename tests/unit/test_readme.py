"""What the README says of the code is what the code says."""

from pathlib import Path

from adavae.service.settings_table import settings_table

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def test_the_table_of_settings_is_the_settings() -> None:
    assert settings_table() in README, "paste what `python -m adavae.service.settings_table` prints into the README"


def test_every_file_of_the_code_is_in_the_tree() -> None:
    root = Path(__file__).parents[2]
    names = {path.name for part in ("model", "service") for path in (root / part).glob("*.py")} - {"__init__.py"}
    assert not sorted(name for name in names if name not in README)
