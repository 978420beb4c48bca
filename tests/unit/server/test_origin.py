"""Whose page makes a browser ask."""

import pytest
from werkzeug.datastructures import Headers

from curta_server.api.origin import check, is_same
from curta_server.errors import Problem

PUBLIC = "https://curta.example"


@pytest.mark.parametrize(
    "headers",
    [
        {},  # no browser
        {"Host": "h:8080", "Origin": "http://h:8080"},
        {"Host": "H:8080", "Origin": "http://h:8080"},
        {"Host": "h", "Origin": "http://h"},
        {"Host": "h:80", "Origin": "http://h"},
        {"Host": "h", "Origin": "https://h"},
        {"Host": "h:443", "Origin": "https://h"},
        {"Host": "[::1]:8080", "Origin": "http://[::1]:8080"},
        {"Host": "behind:8080", "Origin": "https://curta.example"},
        {"Host": "behind:8080", "Origin": "https://curta.example:443"},
        {"Host": "h:8080", "Sec-Fetch-Site": "none"},
        # The browser knows better than names do, which a proxy may have changed.
        {"Host": "behind:8080", "Origin": "http://h", "Sec-Fetch-Site": "same-origin"},
    ],
)
def test_our_own_pages_and_programs_may_act(headers: dict[str, str]) -> None:
    check(Headers(headers), PUBLIC)
    check(Headers(headers), f"{PUBLIC}/")


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "h:8080", "Origin": "http://h:8081"},
        {"Host": "h:8080", "Origin": "http://h"},
        {"Host": "h", "Origin": "http://h:443"},
        {"Host": "h", "Origin": "http://evil.h"},
        {"Host": "h", "Origin": "http://h.evil"},
        {"Host": "127.0.0.1:8080", "Origin": "http://localhost:8080"},
        {"Host": "h", "Origin": "null"},
        {"Host": "h", "Origin": ""},
        {"Host": "h", "Origin": "http://"},
        {"Host": "", "Origin": "http://h"},
        {"Origin": "http://h"},
        {"Host": "h:x", "Origin": "http://h:x"},
        {"Host": "h:70000", "Origin": "http://h:70000"},
        {"Host": "[h", "Origin": "http://[h"},
        {"Host": "h", "Origin": "chrome-extension://h"},
        {"Host": "h:80", "Origin": "gopher://h:80"},
        {"Host": "h", "Origin": "http://curta.example"},
        {"Host": "h", "Origin": "http://h", "Sec-Fetch-Site": "cross-site"},
        {"Host": "h", "Origin": "http://h", "Sec-Fetch-Site": "same-site"},
        {"Host": "h", "Sec-Fetch-Site": "cross-site"},
        {"Host": "h", "Sec-Fetch-Site": ""},
        {"Host": "h", "Sec-Fetch-Site": "same-origin, cross-site"},
    ],
)
def test_other_sites_pages_may_not(headers: dict[str, str]) -> None:
    assert not is_same(Headers(headers), PUBLIC)
    with pytest.raises(Problem) as refused:
        check(Headers(headers), PUBLIC)
    assert (refused.value.status, refused.value.code) == (403, "cross_origin")


def test_without_a_public_url_only_the_host_counts() -> None:
    assert is_same(Headers({"Host": "h", "Origin": "http://h"}), "")
    assert not is_same(Headers({"Host": "h", "Origin": "https://curta.example"}), "")
