"""What is exported for: a target's contract, the table of targets, one builder a target."""
