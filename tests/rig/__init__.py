"""Real parts on one machine: processes with signals, clients that keep books, readers of both."""
