"""The limits and prices that people set, and the strict structures that load them."""
