"""``adavae adapters pull`` and ``push``: sets from and to the Hugging Face Hub, object stores, web servers."""

from typing import Annotated

import typer

from adavae.service import loading
from adavae.service.commands.adapters import NameOption, ReferenceArgument, say_if_untried
from adavae.service.commands.options import JsonOption
from adavae.service.commands.terminal import Output
from adavae.service.settings import load_settings

AddressArgument = Annotated[
    str,
    typer.Argument(
        metavar="ADDRESS", help="hf://owner/name\\[@revision], https://, s3:// or file:// of a set or its .tar.gz."
    ),
]


def pull(
    address: AddressArgument,
    digest: Annotated[
        str | None, typer.Option(help="Which set is expected: its sha256, NAME@VERSION, or NAME@VERSION#SHA256.")
    ] = None,
    name: NameOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fetch an adapter set from another place, verify it, use it once, and install it.

    The address may say which set is expected, as `push` prints it: ADDRESS#NAME@VERSION#SHA256.
    """
    from adavae.service.sharing.pull import pull as fetched

    settings = load_settings()
    trial = loading.open_trial(settings)
    entry = fetched(
        address,
        loading.open_store(settings),
        max_bytes=settings.bank_bytes,
        digest=digest,
        name=name,
        accepting=trial.accept,
        trying=trial.try_directory,
    )
    say_if_untried(entry, trial)
    assert entry.manifest is not None  # it was just read
    Output.of(as_json).write_object(
        {"adapter": entry.reference, "path": str(entry.path), "digest": entry.manifest.digest}
    )


def push(
    reference: ReferenceArgument,
    address: AddressArgument,
    license_id: Annotated[
        str | None, typer.Option("--license", help="For the card on the Hub: an id of its list, like mit.")
    ] = None,
    base_model: Annotated[
        str | None, typer.Option(help="For the card on the Hub: the backbone's id there, if it is there.")
    ] = None,
    datasets: Annotated[
        list[str] | None, typer.Option("--dataset", help="For the card on the Hub: id of the data there; repeatable.")
    ] = None,
    private: Annotated[bool, typer.Option(help="Make a new repository on the Hub for its owner alone.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Verify an adapter set and put it in another place, from which `pull` gets it."""
    from adavae.model.storage.card_metadata import UNKNOWN_LICENSE, Origin
    from adavae.service.sharing.push import push as put

    origin = None
    if license_id or base_model or datasets:
        origin = Origin(license=license_id or UNKNOWN_LICENSE, base_model=base_model, datasets=tuple(datasets or ()))
    pushed = put(reference, address, loading.open_store(load_settings()), origin=origin, is_private=private)
    Output.of(as_json).write_object(
        {"adapter": pushed.reference, "digest": pushed.digest, "pull": pushed.pinned_address}
    )
