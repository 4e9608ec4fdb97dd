"""The compiled way of a decoding step on a CPU, and where it comes from; without it everything goes through PyTorch."""
