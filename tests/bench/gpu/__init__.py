"""One short run on a GPU that settles whether its path is right and how fast it is."""
