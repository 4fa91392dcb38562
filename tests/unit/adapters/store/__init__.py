"""Unit tests of the adapters/net folder."""
