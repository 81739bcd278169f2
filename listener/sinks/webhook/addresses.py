"""Which addresses are public, and sockets for those alone."""

import socket
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Any

Address = IPv4Address | IPv6Address

_NAT64 = IPv6Network("64:ff9b::/96")


class AddressDenied(OSError):
    """A name led to an address that is not public. The text is the same for all, so that several count as one."""

    def __init__(self) -> None:
        super().__init__("it leads into a private network, which deny_private_networks refuses")


def is_public(address: Address) -> bool:
    """Whether an address is that of a host in the internet, by IANA's special-purpose registries.

    An IPv6 address that carries an IPv4 address (mapped; NAT64, RFC 6052; 6to4, RFC 3056) is as public as that one.
    """
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in _NAT64:
            inner = IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
    return address.is_global and not address.is_multicast and not address.is_reserved


def public_socket(info: tuple[Any, ...]) -> socket.socket:
    """The socket of one connection attempt, for aiohttp's connector.

    It is asked with the very address that is connected to next, whether it came from a name server or stood in the
    URL: a name that resolves to something else a moment later gains nothing.

    Raises:
        AddressDenied: the address is not public.
    """
    family, kind, protocol, _, address = info
    if not is_public(ip_address(address[0])):
        raise AddressDenied
    return socket.socket(family=family, type=kind, proto=protocol)
