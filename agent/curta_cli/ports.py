"""Where and how to listen: checked before anything starts, so that a taken port or a certificate that cannot
be used is a sentence and not a traceback."""

import contextlib
import errno
import socket
import ssl

import click


def free_port(host: str, port: int) -> int:
    """The port, when it can be listened on; for 0 one that can.

    Raises: ClickException with a sentence for people.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with contextlib.closing(socket.socket(family, kind, protocol)) as probe:
            # As servers do: connections of a server that has ended must not keep the next one from starting.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
            chosen: int = probe.getsockname()[1]
            return chosen
    except OSError as error:
        why = "it is taken" if error.errno == errno.EADDRINUSE else error.strerror
        raise click.ClickException(
            f"Cannot listen on {host}, port {port}: {why}. Choose another with --port, or stop what is there."
        ) from None


def reachable(host: str) -> str:
    """The host of a URL that reaches, from this machine, what listens on `host`."""
    local = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"[{local}]" if ":" in local else local


def check_certificate(cert: str, key: str) -> None:
    """Refuse a certificate that a server cannot use; an empty `cert` means none.

    Raises: ClickException with a sentence for people.
    """
    if not cert:
        return
    try:
        # The empty password refuses a key that has one, where OpenSSL would ask on the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key or None, password="")
    except OSError as error:
        files = f"{cert} with the key {key}" if key else cert
        raise click.ClickException(
            f"The certificate {files} cannot be used: {error.strerror or error}."
        ) from None
