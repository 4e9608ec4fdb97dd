"""One training run over several processes of a machine."""
