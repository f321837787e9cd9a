"""The fleet for programs that speak the Model Context Protocol: each message is a tool, what can be read a resource."""
