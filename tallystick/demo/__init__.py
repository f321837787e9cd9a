"""The demonstration: a fleet of agents that obey, run through the real manager, watched, and accounted for."""
