"""A data set of the Hugging Face hub as the folder that tables are trained from; the extra ``datasets`` fetches it."""

import importlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from adavae.model.errors import ConfigError, DatasetError

PREFIX = "hub:"
SOURCE = ".source"
"""File of a folder that says which data set of the hub it is."""

_SPLITS = {"train": ("train",), "valid": ("validation", "valid", "dev"), "test": ("test",)}
_HIDDEN = -1  # the label of a test text that a benchmark keeps to itself


@dataclass(frozen=True, slots=True)
class HubData:
    """``hub:OWNER/NAME`` or ``hub:OWNER/NAME:CONFIGURATION``.

    Attributes:
        name: As the hub has it, such as ``fancyzhx/yelp_polarity``.
        configuration: One of several that the data set has, such as ``sst2``; None for its only one.
    """

    name: str
    configuration: str | None

    @classmethod
    def of(cls, text: str) -> Self:
        """Raises ConfigError for what is no such name."""
        name, _, configuration = text.removeprefix(PREFIX).partition(":")
        if not text.startswith(PREFIX) or not name or name.startswith(("/", ".")) or name.count("/") > 1:
            raise ConfigError("--data", text, "names a data set of the hub as hub:OWNER/NAME or hub:OWNER/NAME:PART")
        return cls(name, configuration or None)

    @property
    def source(self) -> str:
        """As it was named."""
        return PREFIX + self.name + (f":{self.configuration}" if self.configuration else "")

    @property
    def folder_name(self) -> str:
        """Of its folder, unless another is chosen."""
        return self.configuration or self.name.rpartition("/")[2]

    def write(self, folder: Path) -> None:
        """Fetches it and writes ``train``, ``valid`` and ``test`` as JSON lines; nothing where the folder is there.

        Raises:
            ConfigError: The folder is of another data set, or the package ``datasets`` is not installed.
            DatasetError: It cannot be fetched, or has no training texts.
        """
        if folder.is_dir():
            self._refuse_another(folder / SOURCE)
            return
        splits = self._fetched()
        found = {split: next((splits[n] for n in names if n in splits), None) for split, names in _SPLITS.items()}
        if found["train"] is None:
            raise DatasetError(f"{PREFIX}{self.name}: has no split train, but {', '.join(map(str, splits))}")
        partial = folder.with_name(f"{folder.name}.partial")
        partial.mkdir(parents=True, exist_ok=True)
        for split, rows in found.items():
            file = partial / f"{split}.jsonl"
            file.unlink(missing_ok=True)
            if rows is not None and (lines := _lines(rows)):
                file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        (partial / SOURCE).write_text(f"{self.source}\n", encoding="utf-8")
        os.replace(partial, folder)

    def _refuse_another(self, file: Path) -> None:
        """A folder that does not say what it is passes."""
        known = file.read_text(encoding="utf-8").strip() if file.is_file() else self.source
        if known != self.source:
            rule = f"{file.parent} has {known}: name another --output, or another --dataset"
            raise ConfigError("--data", self.source, rule)

    def _fetched(self) -> Mapping[str, Any]:
        library = hub_library()
        try:
            splits: Mapping[str, Any] = library.load_dataset(self.name, self.configuration)
        except Exception as exc:  # whatever it is, the user named something that cannot be had
            raise DatasetError(
                f"{PREFIX}{self.name}: cannot be fetched ({type(exc).__name__}: {exc}): check name, part and network, "
                "or give a folder of files"
            ) from exc
        return splits


def hub_library() -> Any:
    """The package ``datasets``; raises ConfigError where it is not installed."""
    try:
        return importlib.import_module("datasets")
    except ModuleNotFoundError as exc:
        rule = "takes the package datasets: pip install 'adavae[datasets]', or give a folder of files"
        raise ConfigError("--data", PREFIX, rule) from exc


def _lines(rows: Any) -> list[str]:
    """Each row as JSON, numbers of classes as their names; empty where the labels are hidden."""
    classes = {column: kind.names for column, kind in (rows.features or {}).items() if hasattr(kind, "names")}
    named = (
        {name: _named(value, classes.get(name)) for name, value in row.items()}
        for row in _without_hidden(rows, classes)
    )
    return [json.dumps(row, ensure_ascii=False, default=_as_json) for row in named]


def _without_hidden(rows: Iterable[Mapping[str, Any]], classes: Iterable[str]) -> list[Mapping[str, Any]]:
    return [row for row in rows if all(row[column] != _HIDDEN for column in classes)]


def _named(value: Any, names: list[str] | None) -> Any:
    return value if names is None or value is None else names[value]


def _as_json(value: object) -> str | None:
    """What JSON has no form of, such as a date, as it is shown; a picture's or a sound's bytes are left out."""
    return None if isinstance(value, bytes | bytearray | memoryview) else str(value)
