"""Settings that would be ignored, or go wrong later, are refused at the start."""

import pytest

from curta_server.settings import Settings


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"tls_cert": "cert.pem", "tls_key": "key.pem"},
        {"tls_cert": "both.pem"},
        {"trusted_proxies": "10.0.0.1"},
        {"trusted_proxies": "10.0.0.1, 10.1.0.0/16,::1,fd00::/8"},
        {"public_url": "https://curta.example.org", "peer_url": "http://[::1]:8080"},
    ],
)
def test_what_makes_sense_is_taken(given: dict[str, str]) -> None:
    Settings(**given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"tls_key": "key.pem"}, "CURTA_TLS_CERT"),
        ({"trusted_proxies": "proxy"}, "CURTA_TRUSTED_PROXIES.*'proxy'"),
        ({"trusted_proxies": "*"}, "CURTA_TRUSTED_PROXIES"),
        ({"trusted_proxies": "10.0.0.1,"}, "CURTA_TRUSTED_PROXIES"),
        ({"trusted_proxies": "10.0.0.1/8"}, "CURTA_TRUSTED_PROXIES"),
        ({"public_url": "curta.example.org"}, "CURTA_PUBLIC_URL"),
        ({"peer_url": "one:8080"}, "CURTA_PEER_URL"),
        ({"peer_url": "ws://one:8080"}, "CURTA_PEER_URL"),
        ({"peer_url": "http://one:port"}, "CURTA_PEER_URL"),
    ],
)
def test_what_would_be_ignored_or_go_wrong_is_refused(given: dict[str, str], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Settings(**given)  # type: ignore[arg-type]
