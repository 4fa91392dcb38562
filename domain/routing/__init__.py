"""Which class of model answers a request: complexity, tiers, outcomes, and when to go up."""
