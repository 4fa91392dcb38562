"""Activities without an engine."""
