"""`python -m bench.routing`: choices of models and agents, measured on recorded outcomes."""
