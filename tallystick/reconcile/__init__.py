"""Reconciliation: the bill of a provider beside what agents reported, and what makes the two equal."""
