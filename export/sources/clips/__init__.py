"""How a graph from elsewhere takes a clip and gives logits: found, described, brought into one form."""
