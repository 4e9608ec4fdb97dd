"""What lies on disk: checkpoints, tokenizers and adapter sets, written at once or not at all."""
