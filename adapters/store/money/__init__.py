"""Goals, budgets, prices and the ledger, as rows."""
