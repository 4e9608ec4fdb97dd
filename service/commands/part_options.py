"""What shaped the rows of a part, kept beside it in ``NAME.part.options``: whoever goes on with it gives the same.

A file that two runs had made between them, each in its own way, would look like any other.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from adavae.model.errors import shown
from adavae.model.storage.atomic import write_atomically

_COMMAND = "command"


def shaping(command: str, **options: object) -> dict[str, object]:
    """The options of a command that its rows depend on, by the names of their parameters."""
    return {_COMMAND: command, **{f"--{name.replace('_', '-')}": value for name, value in options.items()}}


@dataclass(frozen=True, slots=True)
class PartOptions:
    """Those of one part.

    Attributes:
        options: As ``shaping`` gives them, and texts that rows depend on by their digests.
        adapter: The set that made the rows, ``name@version``.
    """

    options: Mapping[str, object]
    adapter: str | None

    @classmethod
    def of(cls, part: Path) -> "PartOptions | None":
        """What is kept beside ``part``; None where it has nothing, as parts of earlier versions."""
        try:
            kept = json.loads(_beside(part).read_bytes())
            return cls(dict(kept["options"]), kept["adapter"])
        except (FileNotFoundError, ValueError, TypeError, KeyError):
            return None

    def keep(self, part: Path) -> None:
        """Puts it beside ``part``."""
        content = {"options": dict(self.options), "adapter": self.adapter}
        write_atomically(_beside(part), json.dumps(content).encode())

    def difference(self, options: Mapping[str, object]) -> str | None:
        """What is given otherwise now, as a message says it; None where all is the same."""
        for name, value in json.loads(json.dumps(dict(options))).items():
            if name in self.options and self.options[name] != value:
                return f"{_given(name, self.options[name])}, now it would be {_given(name, value)}"
        return None


def forget(part: Path) -> None:
    """Takes away what is kept beside ``part``."""
    with suppress(OSError):
        _beside(part).unlink()


def _beside(part: Path) -> Path:
    return part.with_name(f"{part.name}.options")


def _given(name: str, value: object) -> str:
    """An option as a person reads it: ``--seed 7``, ``without --label``."""
    if name == _COMMAND:
        return f"by adavae {value}"
    if value is None or value is False:
        return f"without {name}"
    return f"with {name}" if value is True else f"with {name} {shown(value)}"
