"""What starting and asking a cluster raises; it imports nothing, so that a program can name it without Ray."""


class ClusterError(Exception):
    """The cluster cannot be had, or does not answer; the text says why, in one line."""
