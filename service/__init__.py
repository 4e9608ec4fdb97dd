"""The program around the model: settings, the ``adavae`` command, and later the server."""
