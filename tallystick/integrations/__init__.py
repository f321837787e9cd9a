"""Adapters: the model calls of other libraries' agents are asked for before, and settled after, with their own usage.

None of the libraries is needed to import this package, and tallystick installs none of them.
"""
