"""Data files of every kind as rows of texts and labels; what a dataset must be is left to ``corpus``."""
