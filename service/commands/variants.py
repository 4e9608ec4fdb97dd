"""``adavae variants``: what each variant of the paper's Table 1 trains."""

from dataclasses import asdict

from adavae.service.commands.options import JsonOption
from adavae.service.commands.terminal import Output, Record, column, number
from adavae.service.settings import load_settings


def variants(as_json: JsonOption = False) -> None:
    """Trained share of each variant of the paper's Table 1, for GPT-2 124M."""
    load_settings()
    columns = [
        column("name", "variant"),
        number("trained_parameters", "trained"),
        number("share_percent", "share %", decimals=2),
        number("paper_percent", "paper %", decimals=2),
    ]
    Output.of(as_json).write_records(_variants(), columns)


def _variants() -> list[Record]:
    from adavae.model.variants import paper_variants

    return [asdict(variant) for variant in paper_variants()]
