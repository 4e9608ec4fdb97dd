"""Where z lives: the latent space of one adapter set, its prior and directions."""
