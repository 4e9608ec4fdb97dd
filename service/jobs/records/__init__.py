"""What is written down of a job: its record, its events, its claims; one directory a job, on the shared volume."""
