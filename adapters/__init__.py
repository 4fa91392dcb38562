"""How the world is touched: one vendor or protocol per module."""
