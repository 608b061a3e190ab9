"""The ports in memory, under a virtual clock and with a seam for faults."""
