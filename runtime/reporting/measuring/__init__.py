"""Artifacts in processes of their own, timed side by side, and what else the machine did meanwhile."""
