"""Where idle budget goes."""
