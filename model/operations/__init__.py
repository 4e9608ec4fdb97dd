"""What a latent space is asked for, as plans that the library and the service carry out, each in its own way."""
