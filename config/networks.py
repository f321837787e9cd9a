"""Where alerts may be sent: to every address of the internet, and to those of private networks that are listed."""

import ipaddress
from collections.abc import Iterable
from typing import Final

from tallystick.config.errors import Unfit

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")


def check_networks(networks: Iterable[str]) -> None:
    """Each is an address or a network.

    Raises:
        Unfit: one is something else.
    """
    for place, text in enumerate(networks):
        try:
            ipaddress.ip_network(text)
        except ValueError:
            allowed = "an address or a network, such as 10.0.0.7 or 10.0.0.0/24"
            raise Unfit({("notification_networks", place): allowed}) from None


def is_allowed(host: str, networks: Iterable[str]) -> bool:
    """Whether a connection may lead to an address: a public one, or one within ``networks``.

    Private, loopback, link-local and all other addresses that are not of the internet are not, however they are
    written in IPv6.
    """
    try:
        address = _plain(ipaddress.ip_address(host.partition("%")[0]))
    except ValueError:
        return False
    if address.is_global and not address.is_multicast:
        return True
    return any(address in ipaddress.ip_network(network) for network in networks)


def _plain(address: Address) -> Address:
    """The IPv4 address that is meant by one of IPv6; or itself."""
    if not isinstance(address, ipaddress.IPv6Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour or address
