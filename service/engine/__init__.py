"""The one thread that computes: what waits for it, what it does at each step, and who gets the results."""
