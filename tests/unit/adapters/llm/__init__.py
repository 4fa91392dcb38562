"""Unit tests of the model providers."""
