"""What we are measured against: the bare thing, in a process of its own."""
