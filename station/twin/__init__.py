"""The twin: the world that the simulated instruments measure, with its truth kept beside it."""
