"""Unit tests of the adapters/tools folder."""
