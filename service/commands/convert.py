"""``adavae convert``: a checkpoint of PyTorch's own files into safetensors, which is all that the others read."""

from pathlib import Path
from typing import Annotated

import typer

from adavae.service.commands.options import JsonOption
from adavae.service.commands.terminal import Output


def convert(
    source: Annotated[str, typer.Argument(help="A directory with config.json and pytorch_model.bin, or a hub id.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The directory to write; it must not exist yet.", show_default=False)
    ],
    as_json: JsonOption = False,
) -> None:
    """Convert a GPT-2 checkpoint that has pytorch_model.bin alone to safetensors, for ADAVAE_BACKBONE.

    Only tensors are taken from the file, and nothing in it is run; convert what you have from people you know all the
    same.
    """
    from adavae.model.storage.conversion import convert_checkpoint

    converted = convert_checkpoint(source, output)
    parameters = sum(each.numel() for each in converted.backbone.parameters())
    Output.of(as_json).write_object({"path": str(output), "parameters": parameters, "digest": converted.digest})
