"""Names of training checkpoints: ``step-000001200.safetensors``. A leaf without torch."""

import re

_NAME = re.compile(r"step-(\d{9})\.safetensors")


def checkpoint_name(step: int) -> str:
    """The file name of the checkpoint after ``step`` steps."""
    return f"step-{step:09d}.safetensors"


def step_of(name: str) -> int | None:
    """The step in a file's name; None if it is not a checkpoint."""
    match = _NAME.fullmatch(name)
    return int(match[1]) if match else None
