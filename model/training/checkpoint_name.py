"""What training checkpoints are called: ``step-000001200.safetensors``; a leaf without torch."""

import re

_NAME = re.compile(r"step-(\d{9})\.safetensors")


def checkpoint_name(step: int) -> str:
    """The file that a checkpoint after ``step`` steps has."""
    return f"step-{step:09d}.safetensors"


def step_of(name: str) -> int | None:
    """The step that a file's name tells; None where it is no checkpoint."""
    match = _NAME.fullmatch(name)
    return int(match[1]) if match else None
