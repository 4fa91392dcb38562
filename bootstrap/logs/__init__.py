"""Structured logs: lines, what is masked in them, and the feed that the API serves."""
