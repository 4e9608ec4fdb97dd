"""Adapter sets that are served: what a name means, what the disk holds, which slot each one has."""
