"""What addresses say of who is behind them."""

from functools import lru_cache
from ipaddress import IPv6Address, IPv6Network, ip_address
from typing import Final

# What a site gets at least, and what its machines choose addresses in as they like: RFC 6177, RFC 8981.
_PREFIX_BITS: Final = 64


@lru_cache(maxsize=4096)
def network_of(address: str) -> str:
    """Return what limits of an address are for: itself, and of IPv6 its network, in which one machine may have any.

    What is no address stays as it is.
    """
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return address
    # As sockets for both kinds show addresses of IPv4.
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(IPv6Network((int(parsed), _PREFIX_BITS), strict=False))
