"""How the weights of a network change: what is stepped, at which rate, in which precision, and what is averaged."""
