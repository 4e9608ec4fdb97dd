"""The program around the model: the server and its clients, the ``adavae`` command, training jobs."""
