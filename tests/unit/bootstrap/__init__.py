"""Tests of the composition root's parts, without a Temporal server."""
