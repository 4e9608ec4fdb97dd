"""Wire types: requests as they are checked, replies as they are documented."""
