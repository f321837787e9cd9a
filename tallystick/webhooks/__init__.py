"""Committed events leave as CloudEvents to webhooks: from the log, in order, at least once."""
