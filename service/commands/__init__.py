"""The commands of ``adavae``, one file each; ``service.cli`` puts them together.

A command reads its input, makes one call to the model, and shows the answer. Torch is imported inside the functions
that need it, so that ``--help`` answers at once.
"""
