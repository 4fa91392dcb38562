"""Recorded histories, replayed against the workflows of today."""
