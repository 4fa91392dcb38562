"""Tool calls that the policy rules on and people decide."""
