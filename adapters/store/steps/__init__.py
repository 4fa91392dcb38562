"""Steps: opened behind the fence, written to, closed, billed."""
