"""Workflows on a Temporal server, with fakes behind the ports."""
