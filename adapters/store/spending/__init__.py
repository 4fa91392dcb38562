"""Money and models: what is held and spent of budgets, which models and rates are open."""
