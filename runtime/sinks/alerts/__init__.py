"""Tells of actions as they begin and end: to a command, or to an address on the web."""
