"""What touches the world: retried, idempotent, known to workflows by name."""
