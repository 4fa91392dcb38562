"""Runs that go on from another, and those that were given up on."""
