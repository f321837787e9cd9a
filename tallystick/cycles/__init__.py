"""The Cycles protocol, v0.1.25, over a fleet: its clients need another base URL, and nothing else."""
