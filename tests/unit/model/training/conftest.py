"""The file of texts that tests of pretraining read."""

from pathlib import Path

import pytest

from tests.unit.model.training.tiny_pretraining import made_up_texts


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "texts.txt"
    path.write_text("\n".join(made_up_texts(80, 1)), encoding="utf-8")
    return path
