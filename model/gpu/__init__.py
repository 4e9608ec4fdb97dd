"""The model on a GPU: packed encoding, decoding by CUDA graphs, rows of many adapter sets in one kernel."""
