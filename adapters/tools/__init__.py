"""Tools that the orchestrator runs itself."""
