"""Graphs from elsewhere: read with care, lifted, checked, run as they came."""
