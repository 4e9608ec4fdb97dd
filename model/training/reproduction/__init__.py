"""The paper's tables run again: every system behind one measure, on the same texts."""
