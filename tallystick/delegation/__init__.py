"""How a fleet and its parent come together: what a child sends, hears, and how one log is checked against the other."""
