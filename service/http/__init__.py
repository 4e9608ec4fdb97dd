"""Around every request: who may send it, how often, how large, under what id; and what a reply looks like."""
