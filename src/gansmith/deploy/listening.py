"""Sockets of the servers: which addresses are loopback, and one line about those that cannot be used."""

from __future__ import annotations

import ipaddress
import socket

from gansmith.errors import ConfigError

__all__ = ["is_loopback", "listen", "web_address"]


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach an address.

    Raises:
        ConfigError: it cannot be resolved.
    """
    try:
        found = socket.getaddrinfo(host, None)
    except OSError as error:
        raise ConfigError(f"--host {host}: cannot be resolved ({error.strerror}); expected an address") from error
    return all(ipaddress.ip_address(str(each[4][0]).partition("%")[0]).is_loopback for each in found)


def web_address(host: str, listening: socket.socket) -> str:
    """Return the address for a browser: "http://127.0.0.1:8000"."""
    return f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}"


def listen(host: str, port: int, option: str = "--port") -> socket.socket:
    """Return a bound socket.

    Args:
        host: the address to listen on.
        port: 0 takes a free one.
        option: what the user typed, for messages.

    Raises:
        ConfigError: the address cannot be used.
    """
    if not 0 <= port <= 65535:
        raise ConfigError(f"{option} {port}: is out of range; expected 0 to 65,535")
    host_too = " or --host" if option == "--port" else ""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio switches Nagle's algorithm off only where the protocol is named; with it, each answer takes 40 ms more.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise ConfigError(f"{option} {port}: {str(error.strerror).lower()}; choose another port{host_too}") from error
    return listening
