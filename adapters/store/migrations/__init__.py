"""The schema's history: one file per change, applied in order when a process starts."""
