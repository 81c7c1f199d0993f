"""float32 and float16: the types of a graph, changed as a whole."""
