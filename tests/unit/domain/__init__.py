"""Unit tests of the domain folder."""
