"""GPT-2's blocks with adapters and the layers around z, compiled for CPUs, and the choice between them and PyTorch."""
