"""Training as a service: stored data, job records on the shared volume, and the worker that trains."""
