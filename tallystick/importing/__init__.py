"""Past usage in files of others: what a file says (one module per tool), brought together in a file of our own, and
reported with its own dates and sources.
"""
