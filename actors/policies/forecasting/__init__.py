"""How usage goes on: when a budget will be used up, what a run will use in all, which step stands out."""
