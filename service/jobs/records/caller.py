"""Whose request it is, and what of others' it may see. Files and jobs carry the name of the key that made them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks.

    Attributes:
        owner: The name of the key; what is made becomes its own. None where the service has no keys.
        is_admin: Sees what belongs to others, and to nobody: what was made when there were no keys.
    """

    owner: str | None
    is_admin: bool

    def sees(self, owner: str | None) -> bool:
        """Whether something of that owner is there for this caller."""
        return self.is_admin or (owner is not None and owner == self.owner)


EVERYBODY = Caller(owner=None, is_admin=True)
"""Where there are no keys."""
