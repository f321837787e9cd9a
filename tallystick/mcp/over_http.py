"""The server of a fleet over Streamable HTTP, to be run inside another server."""

from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings

from tallystick.events.log.codec import BODY_MAX
from tallystick.mcp.server import Backend, server_of


def manager_of(backend: Backend) -> StreamableHTTPSessionManager:
    """What takes requests while its ``run`` goes on.

    Each request stands for itself: a session would outlive the check of the key with which it was begun. What comes by
    another name, or from a page of another origin, is refused by the server around it (`http.guard`), which knows its
    names.
    """
    return StreamableHTTPSessionManager(
        server_of(backend),
        json_response=True,
        stateless=True,
        security_settings=TransportSecuritySettings(enable_dns_rebinding_protection=False),
        max_request_body_size=BODY_MAX,
    )
