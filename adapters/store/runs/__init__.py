"""Runs as rows, from their acceptance to their one end."""
