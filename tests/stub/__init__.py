"""Servers that misbehave on command: a model provider, an effect ledger, an external agent."""
