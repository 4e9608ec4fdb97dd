"""Texts to encodings: from a cache, from a neighbour's request, or from the engine."""
