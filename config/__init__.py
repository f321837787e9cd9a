"""The limits and prices that users set, and the strict structures that load them."""
