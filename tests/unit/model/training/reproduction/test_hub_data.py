"""A data set of the hub, by a stand-in of the package that fetches it: what is written, and what is refused."""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import pytest

from adavae.model.errors import ConfigError, DatasetError
from adavae.model.training.corpus import read_dataset
from adavae.model.training.reproduction.corpus import file_of
from adavae.model.training.reproduction.data_folder import digest_of
from adavae.model.training.reproduction.hub_data import SOURCE, HubData


class Rows(list[dict[str, Any]]):
    """As much of ``datasets.Dataset`` as is used."""

    features: ClassVar = {"sentence": SimpleNamespace(dtype="string"), "label": SimpleNamespace(names=["bad", "good"])}


SPLITS = {
    "train": Rows([{"sentence": "it was fine .", "label": 1}, {"sentence": "it was not .", "label": 0}]),
    "validation": Rows([{"sentence": "so so .", "label": 0}]),
    "test": Rows([{"sentence": "who knows ?", "label": -1}]),
}


DATED = Rows(
    [
        {"sentence": "it was fine .", "label": 1, "at": datetime(2026, 1, 2, tzinfo=UTC), "image": {"bytes": b"\xff"}},
        {"sentence": "it was not .", "label": None, "at": None, "image": None},
    ]
)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str | None]]:
    """What the stand-in was asked for."""
    names: list[tuple[str, str | None]] = []

    def load_dataset(name: str, configuration: str | None) -> dict[str, Rows]:
        names.append((name, configuration))
        if name == "nobody/nothing":
            raise FileNotFoundError("no such data set")
        if name == "someone/dated":
            return {"train": DATED}
        return SPLITS if name != "someone/untrained" else {"test": SPLITS["test"]}

    library = ModuleType("datasets")
    library.load_dataset = load_dataset  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "datasets", library)
    return names


def test_its_splits_become_files_with_the_names_of_the_classes(tmp_path: Path, asked: list[Any]) -> None:
    data = HubData.of("hub:nyu-mll/glue:sst2")
    folder = tmp_path / "data" / data.folder_name
    data.write(folder)
    data.write(folder)
    assert asked == [("nyu-mll/glue", "sst2")]  # once
    read = read_dataset(file_of(folder, "train"), require_labels=True)
    assert read.texts == ("it was fine .", "it was not .") and read.labels == ("good", "bad")
    assert file_of(folder, "test", otherwise="valid").name == "valid.jsonl"  # the test's labels are hidden
    assert [path.name for path in folder.parent.iterdir()] == ["sst2"]


@pytest.mark.usefixtures("asked")
def test_dates_bytes_and_missing_labels_are_no_obstacle(tmp_path: Path) -> None:
    """Each was a TypeError."""
    HubData.of("hub:someone/dated").write(tmp_path / "dated")
    first, second = map(json.loads, (tmp_path / "dated" / "train.jsonl").read_text().splitlines())
    assert first == {
        "sentence": "it was fine .",
        "label": "good",
        "at": "2026-01-02 00:00:00+00:00",
        "image": {"bytes": None},
    }
    assert (second["sentence"], second["label"]) == ("it was not .", None)


@pytest.mark.parametrize("name", ["hub:", "hub:/etc", "hub:../up", "hub:a/b/c", "a/b"])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="hub:OWNER/NAME"):
        HubData.of(name)


@pytest.mark.parametrize(
    ("name", "message"), [("hub:nobody/nothing", "cannot be fetched"), ("hub:someone/untrained", "no split train")]
)
@pytest.mark.usefixtures("asked")
def test_what_cannot_be_had_leaves_nothing_behind(name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=message):
        HubData.of(name).write(tmp_path / "data" / "set")
    assert list(tmp_path.iterdir()) == []


def test_without_the_package_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ConfigError, match=r"pip install 'adavae\[datasets\]'"):
        HubData.of("hub:a/b").write(tmp_path / "set")


def test_a_folder_of_another_data_set_is_not_taken_for_this_one(tmp_path: Path, asked: list[Any]) -> None:
    """The texts of the first were read, whatever was named."""
    folder = tmp_path / "yelp"
    HubData.of("hub:nyu-mll/glue:sst2").write(folder)
    digest = digest_of(folder)
    with pytest.raises(ConfigError, match=r"hub:nyu-mll/glue:sst2: name another --output"):
        HubData.of("hub:someone/reviews").write(folder)
    (folder / SOURCE).unlink()  # as folders were before they said it
    HubData.of("hub:someone/reviews").write(folder)
    assert asked == [("nyu-mll/glue", "sst2")] and digest_of(folder) == digest
