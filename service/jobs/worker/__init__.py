"""Who works on jobs: the worker, the process that trains, and what is made of its end."""
