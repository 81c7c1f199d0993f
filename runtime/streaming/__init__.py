"""From frames to records: windows, the queue, the network's runs, smoothing, events."""
