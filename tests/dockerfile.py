"""What a Dockerfile says of each of its stages, as far as processes can be started by it without an engine."""

import json
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.compose_file import REPOSITORY

DOCKERFILE = REPOSITORY / "docker" / "Dockerfile"


@dataclass(slots=True)
class Stage:
    """One stage with what it has from those it builds on.

    Attributes:
        base: The image, or the stage, that it builds on.
        environment: Of every process.
        copied: Paths of the build context that are copied in.
        command: What runs, in exec form.
        healthcheck: What tells whether it is well, in exec form, and its options.
    """

    base: str
    environment: dict[str, str] = field(default_factory=dict)
    copied: list[str] = field(default_factory=list)
    command: list[str] | None = None
    user: str | None = None
    working_directory: str | None = None
    healthcheck: tuple[list[str], dict[str, str]] | None = None

    def take(self, instruction: str, rest: str) -> None:
        match instruction:
            case "ENV":
                self.environment |= dict(pair.split("=", 1) for pair in shlex.split(rest))
            case "COPY" if not rest.startswith("--from"):
                self.copied += rest.split()[:-1]
            case "USER":
                self.user = rest
            case "WORKDIR":
                self.working_directory = rest
            case "CMD":
                self.command = _exec_form(rest)
            case "HEALTHCHECK":
                options, _, command = rest.partition("CMD ")
                self.healthcheck = _exec_form(command), dict(re.findall(r"--([a-z-]+)=(\S+)", options))


def read_stages(path: Path = DOCKERFILE) -> dict[str, Stage]:
    """The stages by name."""
    stages: dict[str, Stage] = {}
    current: Stage | None = None
    for instruction, rest in read_instructions(path):
        if instruction == "FROM":
            base, _, name = re.split(r"\s+(AS)\s+", rest)
            parent = stages.get(base)
            current = stages[name] = Stage(base)
            if parent is not None:
                current.environment |= parent.environment
                current.user, current.working_directory = parent.user, parent.working_directory
        elif current is not None:
            current.take(instruction, rest)
    return stages


def read_instructions(path: Path = DOCKERFILE) -> list[tuple[str, str]]:
    """Instruction and the rest of its line, continued lines put together."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("#")]
    whole = re.sub(r"\\\n\s*", "", "\n".join(lines))
    split = [line.split(None, 1) for line in whole.splitlines() if line.strip()]
    return [(instruction, rest) for instruction, rest in split]


def _exec_form(text: str) -> list[str]:
    command: Any = json.loads(text)
    assert isinstance(command, list), f"not in exec form: {text}"
    return command
