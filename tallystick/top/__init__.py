"""``tallystick top``: a live screen of a fleet, beside the process that writes it."""
