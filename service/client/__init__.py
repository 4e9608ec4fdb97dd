"""The service from Python: its operations, its training jobs, and how both try again."""
