WRONG_INPUT = 2
"""The exit code where what was asked makes no sense; 1 where it was tried and did not come out well."""
