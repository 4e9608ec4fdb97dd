"""The systems of the paper's Tables 1 and 2, each in the file of its name."""
