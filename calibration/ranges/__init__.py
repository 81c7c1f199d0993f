"""Ranges of activations, measured on clips."""
