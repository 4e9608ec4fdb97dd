"""What is trained: the parts of an adapter set, each stacked over the sets of a bank."""
