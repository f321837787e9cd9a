"""Signed links in alerts, with which their recipients stop, pause or approve: each works once, within a day."""
