"""Which form of a network is the fastest: where it is exported, and on the device."""
