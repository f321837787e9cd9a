"""``audit verify``: the log decided anew, and all that is kept beside it compared with what it comes to."""
