"""AdaVAE itself: one frozen GPT-2 used twice, the parts trained beside it, and their training. Start reading in ``adavae``."""
