"""The two databases, and what a transaction is to the rest of the store."""
