"""The runtime and its five actors: threads around plain objects, whose judgement is in `policies/`."""
