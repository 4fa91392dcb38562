"""The commands of `orchestrator`, one module per noun. Heavy imports wait until one runs."""
