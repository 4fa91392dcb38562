"""Trees of runs: made, shared among, and looked up as one."""
