"""Top-1 and top-5 of a network on labeled videos."""
