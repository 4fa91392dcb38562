"""Real parts on one machine: processes with signals, an API on a socket, clients that keep books,
readers of both.
"""
