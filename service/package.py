"""``import adavae``: what stands at the root of the installed package, as its ``__init__``.

Nothing is imported before it is used, so that importing adavae costs nothing.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from adavae.model.text_model import TextModel
    from adavae.service.client.latent import AdaVAEClient as Client

__all__ = ["Client", "load"]


def load(*references: str, device: str | None = None) -> "TextModel":
    """The model over the configured backbone with these adapter sets, ``name`` or ``name@version``.

    Args:
        references: At least one; the default adapter set if left out.
        device: ``auto``, ``cpu`` or ``cuda`` in place of the setting.

    Raises:
        AdaVAEError: A set or the backbone is missing, broken, or does not fit the other.
    """
    from adavae.service.loading import load_text_model
    from adavae.service.settings import load_settings

    settings = load_settings()
    return load_text_model(settings, list(references or (settings.default_adapter,)), device)


def __getattr__(name: str) -> object:
    if name == "Client":
        from adavae.service.client.latent import AdaVAEClient

        return AdaVAEClient
    raise AttributeError(f"module 'adavae' has no attribute {name!r}: it has {', '.join(__all__)}")
