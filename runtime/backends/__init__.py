"""One module a runtime; ``s2tf_edge.runtime.session.open_session`` picks the one that an artifact needs."""

__all__: list[str] = []
