"""Which agent does a request: six criteria, what was learned of them, and the decision."""
