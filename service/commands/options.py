"""Options that several commands share: each is defined here once."""

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Literal

import typer

from adavae.model.decoding.decoding import ONLY_WITH, Decoding, Strategy
from adavae.model.errors import ConfigError
from adavae.model.latent.steering import Steering
from adavae.service.commands.completion import adapter_names

Device = Literal["auto", "cpu", "cuda"]

AdapterOption = Annotated[
    str | None,
    typer.Option(
        "--adapter",
        "-a",
        metavar="NAME[@VERSION]",
        help="Adapter set; the configured default if left out.",
        autocompletion=adapter_names,
    ),
]
DeviceOption = Annotated[Device | None, typer.Option("--device", help="Where to compute; ADAVAE_DEVICE if left out.")]
JsonOption = Annotated[
    bool, typer.Option("--json", help="One JSON object per line, as always where stdout is not a terminal.")
]
TruncateOption = Annotated[bool, typer.Option("--truncate", help="Cut texts that are longer than the context.")]
TextColumnOption = Annotated[
    str | None,
    typer.Option("--text-column", metavar="NAME", help="Column of the texts; guessed by the usual names if left out."),
]
LabelColumnOption = Annotated[
    str | None, typer.Option("--label-column", metavar="NAME", help="Column of the labels; guessed as well.")
]
PairColumnOption = Annotated[
    str | None,
    typer.Option("--pair-column", metavar="NAME", help="Column of each text's second half; guessed as well."),
]
OutputOption = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        dir_okay=False,
        metavar="FILE",
        help="Write here: .csv, .jsonl, .npy or .parquet, by its ending.",
    ),
]
ResumeOption = Annotated[
    bool, typer.Option("--resume", help="Go on with what an earlier run, stopped on the way, left of --output.")
]
WithZOption = Annotated[bool, typer.Option("--with-z", help="Put the latent vector into the JSON.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodingOptions:
    """How tokens are chosen; the fields are the options of every command that decodes."""

    strategy: Annotated[Literal["greedy", "sample", "beam"], typer.Option(help="How tokens are chosen.")] = "greedy"
    temperature: Annotated[float, typer.Option(help="Sampling: below 1 is safer, above wilder, 0 is greedy.")] = 1.0
    top_k: Annotated[int, typer.Option(help="Sampling: among the k most probable tokens; 0 is off.")] = 0
    top_p: Annotated[float, typer.Option(help="Sampling: among the tokens that hold this probability; 1 is off.")] = 1.0
    repetition_penalty: Annotated[float, typer.Option(help="Above 1 makes tokens already written less likely.")] = 1.0
    max_tokens: Annotated[int, typer.Option(help="Longest text, in tokens.")] = 48
    num_beams: Annotated[int, typer.Option(help="Beam search: texts kept at every step.")] = 4
    seed: Annotated[int, typer.Option(help="Of every random choice: same seed, same text.")] = 0

    def to_decoding(self) -> Decoding:
        """The options as a ``Decoding``.

        Raises:
            typer.BadParameter: A value is out of range, or has no effect with this strategy.
        """
        self._refuse_options_without_effect()
        with usage_errors():
            return Decoding(
                strategy=Strategy(self.strategy),
                temperature=self.temperature,
                top_k=self.top_k,
                top_p=self.top_p,
                repetition_penalty=self.repetition_penalty,
                max_tokens=self.max_tokens,
                num_beams=self.num_beams,
                seed=self.seed,
            )

    def _refuse_options_without_effect(self) -> None:
        draws = self.strategy == "sample" or (self.temperature == 0 and self.strategy == "greedy")
        for field in fields(self):
            needed = ONLY_WITH.get(field.name, self.strategy)
            if needed == Strategy.SAMPLE and draws:
                continue
            if getattr(self, field.name) != field.default and needed != self.strategy:
                option = f"--{field.name.replace('_', '-')}"
                raise typer.BadParameter(
                    f"{option} has no effect with --strategy {self.strategy}: add --strategy {needed}"
                )


RefineOption = Annotated[
    float | None,
    typer.Option("--refine", help="0 to 1: lead z back to where real texts lie; the measured best if left out."),
]
TruncationOption = Annotated[
    float | None,
    typer.Option(
        "--truncation", help="Share of z's distance from the middle that is kept; the measured best if left out."
    ),
]
DepthOption = Annotated[
    float | None,
    typer.Option("--truncation", help="0 to 1: draw the walk's middle in; the measured best if left out."),
]
FocusOption = Annotated[
    float | None,
    typer.Option("--focus", help="0 takes b - a as it is, 1 the change of label in it; the measured best if left out."),
]
CandidatesOption = Annotated[
    int | None,
    typer.Option("--candidates", help="Texts written for each z, the best shown; the measured best if left out."),
]


def steering_of(
    refine: float | None = None,
    truncation: float | None = None,
    candidates: int | None = None,
    focus: float | None = None,
) -> Steering:
    """The options as ``Steering``; raises typer.BadParameter if a value is out of range."""
    with usage_errors():
        return Steering(refine=refine, truncation=truncation, candidates=candidates, focus=focus)


def takes(options_type: type, parameter: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Adds an option for each field of a dataclass to a command, which receives them as one ``parameter``."""
    options = list(inspect.signature(options_type).parameters.values())

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        others = [each for each in inspect.signature(command).parameters.values() if each.name != parameter]

        @functools.wraps(command)
        def expanded(**values: object) -> None:
            grouped = {each.name: values.pop(each.name) for each in options}
            command(**values, **{parameter: options_type(**grouped)})

        parameters = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in (*others, *options)]
        expanded.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        expanded.__annotations__ = {each.name: each.annotation for each in parameters}
        return expanded

    return decorate


@contextmanager
def usage_errors() -> Iterator[None]:
    """A value that the model refuses is wrong usage if it came straight from an option."""
    try:
        yield
    except ConfigError as exc:
        raise typer.BadParameter(str(exc)) from exc
