"""What every graph from elsewhere goes through: training mode off, constants folded, what is idle dropped."""
