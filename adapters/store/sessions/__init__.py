"""Sessions: who holds one, who waits, and what was said."""
