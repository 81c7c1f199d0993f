"""Videos, data sets of them, and a data set that makes itself; nothing here needs torch."""
