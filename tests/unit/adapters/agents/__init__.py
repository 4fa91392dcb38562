"""Unit tests of the adapters/agents folder."""
