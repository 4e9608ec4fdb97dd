"""Where z lives."""
