"""Faults injected for real: processes killed and frozen, servers taken away, providers that lie.

| file | faults of the table |
|---|---|
| `check.py` | the invariant checker that every test ends with |
| `test_kills.py` | 1, 2, 3, 5, 6, 8, 9, 10, 11 |
| `test_crash_points.py` | a crash at every commit boundary |
| `test_stores.py` | 12, 13, 14 |
| `test_providers.py` | 15 to 22 |
| `test_viewers.py` | 26, 27, 28 |
"""
