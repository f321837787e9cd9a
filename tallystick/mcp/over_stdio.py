"""The server of a fleet over stdin and stdout, as the programs run it that start their servers themselves."""

from mcp.server.stdio import stdio_server

from tallystick.mcp.server import Backend, server_of


async def serve_stdio(backend: Backend) -> None:
    """Answer until stdin ends. What the program prints meanwhile goes to stderr."""
    server = server_of(backend)
    async with stdio_server() as (incoming, outgoing):
        await server.run(incoming, outgoing, server.create_initialization_options())
