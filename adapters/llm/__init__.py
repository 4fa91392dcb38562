"""Language models: one module per provider, and what their wire formats share."""
