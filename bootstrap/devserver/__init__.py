"""The Temporal dev server: found or built, locked, started, watched, restarted."""
