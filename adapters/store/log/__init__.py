"""The event log: written at one place, read by pages and followed as it grows."""
