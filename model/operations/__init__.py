"""Operations on a latent space, as plans that the library and the service each carry out in their own way."""
