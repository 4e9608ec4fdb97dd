"""AdaVAE itself: a frozen GPT-2 pair, the parts trained beside it, and their training. Start reading in ``adavae``."""
