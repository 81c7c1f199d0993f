"""Learning from a teacher: what it says of videos, and how a network learns that, with labels or without."""
