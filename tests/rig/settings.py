"""What every process of a world is told."""

CANARY = "sk-canary-5f1d0c"
"""A secret every process holds; it must appear nowhere."""

SHORT = {
    "ORCHESTRATOR_HEARTBEAT_SECONDS": "3",
    "ORCHESTRATOR_LEASE_SECONDS": "1",
    "ORCHESTRATOR_RECONCILE_SECONDS": "1",
    "ORCHESTRATOR_RETRY_SECONDS": "0.05",
    "ORCHESTRATOR_PING_SECONDS": "0.5",
    "ORCHESTRATOR_DRAIN_SECONDS": "2",
    # Scenes break providers on purpose, many after another: those of breakers switch them on.
    "ORCHESTRATOR_BREAKER_FAILURES": "0",
    "ORCHESTRATOR_LOG_LEVEL": "info",
    "ORCHESTRATOR_LOG_FORMAT": "json",
}
"""Waits of `make test`; a heavy test takes the product's own."""
