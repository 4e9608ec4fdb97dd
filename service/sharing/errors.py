"""What can go wrong on the way to another place."""

from adavae.model.errors import AdaVAEError


class SharingError(AdaVAEError):
    """A place cannot be used as asked: not there, not allowed, not what was promised, or without its package."""
