"""Everything on disk: checkpoints, tokenizers and adapter sets, written completely or not at all."""
