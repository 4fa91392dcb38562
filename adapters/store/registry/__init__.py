"""What is registered: agents and keys."""
