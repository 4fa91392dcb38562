"""Faults injected for real: signals, killed processes, a provider that misbehaves."""
