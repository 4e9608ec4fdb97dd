"""Texts that begin with a dash, which every command line takes for options."""

import re
import shlex
from typing import Any

from typer.core import TyperCommand

_TEXT = re.compile(r"-[^=]*\s|-\d")  # no option has a blank in its name, or a digit at its start


class TextCommand(TyperCommand):
    """A command whose arguments are texts: for one that begins with a dash it says how to give it."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        given = list(args)
        try:
            return super().parse_args(ctx, args)
        except Exception as exc:
            # click's NoSuchOption, wherever this version of typer keeps it
            unknown = getattr(exc, "option_name", None)
            text = next((arg for arg in given if _TEXT.match(arg) and arg.startswith(str(unknown))), None)
            if unknown is not None and text is not None:
                command = f"{ctx.command_path} [OPTIONS] -- {shlex.quote(text)}"
                exc.message = f"a text that begins with a dash goes behind --, after all options: {command}"  # type: ignore[attr-defined]
            raise
