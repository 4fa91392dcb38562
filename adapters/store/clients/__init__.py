"""Tools that clients run: hosts, and what they are asked."""
