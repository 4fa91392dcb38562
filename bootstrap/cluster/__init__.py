"""`make cluster`: the production roles as processes, on PostgreSQL and a real Temporal server."""
