"""The people: thin pykka shells around pure judgement."""
