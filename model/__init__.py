"""AdaVAE itself: one frozen GPT-2 used twice, what is trained beside it, its training. Start reading in ``adavae``."""
