"""``import adavae``: the ``__init__`` of the installed package.

Everything else is imported on first use, so importing adavae costs nothing.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from adavae.model.loaded_set import LoadedSet
    from adavae.service.client.latent import AdaVAEClient as Client

__all__ = ["Client", "load", "pair"]


def load(reference: str | None = None, *, device: str | None = None) -> "LoadedSet":
    """An adapter set over the configured backbone, ready to encode, decode, interpolate and more in this process.

    Args:
        reference: ``name`` or ``name@version``; the default adapter set if left out.
        device: ``auto``, ``cpu`` or ``cuda`` in place of the setting.

    Raises:
        AdaVAEError: The set or the backbone is missing, damaged, or does not fit the other.
        ImportError: Only the client is installed.
    """
    try:
        from adavae.model.loaded_set import LoadedSet
        from adavae.service.loading import load_text_model
        from adavae.service.settings import load_settings
    except ModuleNotFoundError as exc:
        if not (exc.name or "").startswith("adavae"):
            raise
        raise ImportError("this is adavae's client alone, which loads no sets: install adavae in its place") from exc

    settings = load_settings()
    name = reference or settings.default_adapter
    return LoadedSet(load_text_model(settings, [name], device), name)


def pair(text: str, text_pair: str) -> str:
    """Two texts as one, as a set trained on pairs reads them: for ``encode`` and ``classify`` of set and client.

    Raises:
        ConfigError: A text holds what stands between the two.
    """
    from adavae.model.pairs import joined

    return joined(text, text_pair)


def __getattr__(name: str) -> object:
    if name == "Client":
        from adavae.service.client.latent import AdaVAEClient

        return AdaVAEClient
    raise AttributeError(f"module 'adavae' has no attribute {name!r}: it has {', '.join(__all__)}")
