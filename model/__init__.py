"""AdaVAE: one frozen GPT-2 used twice, the parts trained beside it, and their training. Start with ``adavae``."""
