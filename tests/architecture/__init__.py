"""What keeps the house in shape: layers, names, sizes."""
