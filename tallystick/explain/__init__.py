"""Why it was decided so: one row per event, one event with all that surrounds it, and the story of an agent."""
