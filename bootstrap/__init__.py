"""Who wires it: the composition root, its processes and their command line."""
