"""A fleet that several servers share: one is its writer, the others stand by to take its place."""
