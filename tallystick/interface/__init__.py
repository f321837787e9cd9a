"""The typed interface for Python programs: agents, calls and tasks, the same in process and over HTTP."""
