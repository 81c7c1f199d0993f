"""Graphs that came quantized: read, stripped of it, written another way."""
