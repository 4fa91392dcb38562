"""Tests without I/O, one folder per package."""
