"""One short run on a GPU that settles whether its path is right and how fast it is."""

from tests.bench.gpu.checkout import make_importable

make_importable()  # before anything here is imported: a borrowed machine has a bare checkout
