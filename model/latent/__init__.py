"""Where z lives: what is known of the latent space of one adapter set."""
