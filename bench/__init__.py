"""What we measure: every bar of the product against its anchor, side by side in one run."""
