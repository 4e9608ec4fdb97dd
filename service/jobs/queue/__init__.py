"""How workers hear of new jobs."""
