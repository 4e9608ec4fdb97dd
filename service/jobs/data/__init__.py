"""What jobs are trained on: uploaded files, how they are read and what is said of them."""
