"""The HTTP server of a fleet: messages in, replies and problems out. `tallystick serve` runs it."""
