"""Agents of other people, over the agent protocol."""
