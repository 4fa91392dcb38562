"""Providers and tools that refuse, stall, lie and flood, and what runs make of it."""
