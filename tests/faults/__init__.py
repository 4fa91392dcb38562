"""Faults injected for real: processes killed and frozen, servers taken away, providers that lie.

| file | faults of the table |
|---|---|
| `check.py` | the invariant checker that every test ends with |
| `test_kills.py` | 1, 2 |
| `test_no_workers.py` | 3, 8 |
| `test_server_away.py` | 5, 6 |
| `test_between_writes.py` | 9, 10, 11 |
| `test_crash_points.py` | a crash at every commit boundary |
| `test_flow_crash_points.py` | the same for an approval, a fork, a tree of runs |
| `test_stores.py` | 12, 13, 14 |
| `providers/` | 15 to 22 |
| `test_viewers.py` | 26, 27, 28 |
"""
