"""Other ways to keep budgets, asked the same three questions as ours, each in an environment of its own.

What runs in such an environment (`side` and what it imports) needs nothing but Python and the package that is measured.
"""
