"""Where records go: text, JSON lines, a labeled video, the terminal, a window on the screen."""
