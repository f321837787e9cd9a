"""The command line: it translates words into messages and records into words, and decides nothing."""
