"""The service on a Ray cluster: a Ray Serve application, what a replica of it is, and training as Ray tasks."""
