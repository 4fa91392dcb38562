"""What is true: values, legal moves and decisions. No I/O, no clock, no randomness."""
