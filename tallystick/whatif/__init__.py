"""What if: the facts of a log kept, every decision made anew under another policy, and what would have differed.
Pure.
"""
