"""The views over HTTP: what the commands show, now or as it was, computed beside the server, so that it never waits."""
