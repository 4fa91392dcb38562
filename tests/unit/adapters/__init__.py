"""Unit tests of the adapters folder."""
