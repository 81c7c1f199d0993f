"""The parts of the page that ``s2tf_edge.runtime.web.sink`` serves; ``app`` and ``metrics`` need the extra ``web``."""
