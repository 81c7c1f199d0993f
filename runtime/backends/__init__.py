"""One module a runtime; ``s2tf_edge.runtime.open.open_session`` picks the one that an artifact needs."""

__all__: list[str] = []
