"""The commands. Each module parses, calls one public function and prints; all heavy imports happen inside functions."""
