"""What clients, files, keys and machines may do to a running service, drawn by chance, kind by kind."""
