"""Clusters of machines that Ray holds together: connecting to one, its nodes, and workers on them.

Nothing here imports Ray before somebody connects; without a cluster everything else works.
"""
