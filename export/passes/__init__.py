"""Edits of graphs, each a pass of its own: what goes in and what comes out computes the same."""
