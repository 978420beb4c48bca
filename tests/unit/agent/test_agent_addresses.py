"""Where an agent connects next, and when."""

import pytest

from curta_agent.addresses import BACKOFF_MAX_S, Addresses, redirect_target, websocket_url

A = "ws://a:1/agents/connect"
B = "ws://b:2/agents/connect"
C = "ws://c:3/agents/connect"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://host", "ws://host/agents/connect"),
        ("https://host/", "wss://host/agents/connect"),
        ("ws://host:8080", "ws://host:8080/agents/connect"),
        ("HTTPS://Host:443/agents/connect", "wss://host:443/agents/connect"),
        ("http://host/curta", "ws://host/curta/agents/connect"),
        ("http://[::1]:8080", "ws://[::1]:8080/agents/connect"),
        ("http://host:8080?x=1#y", "ws://host:8080/agents/connect"),
    ],
)
def test_an_orchestrators_url_leads_to_its_agents_websocket(url: str, expected: str) -> None:
    assert websocket_url(url) == expected


@pytest.mark.parametrize(
    "url", ["", "host:8080", "ftp://host", "http://", "http://host:99999", "http://u:p@host", "http://[::1"]
)
def test_what_is_no_orchestrators_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="URL"):
        websocket_url(url)


def test_the_first_attempt_is_at_once_and_then_the_wait_doubles_up_to_its_limit() -> None:
    addresses = Addresses(["http://a:1"], chance=lambda: 1.0)
    waits = [addresses.next(0.0)[1] for _ in range(9)]
    assert waits == pytest.approx([0.0, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0])


def test_the_jitter_is_full() -> None:
    addresses = Addresses(["http://a:1"], chance=lambda: 0.0)
    assert [addresses.next(0.0)[1] for _ in range(9)] == [0.0] * 9


def test_a_very_long_outage_changes_nothing() -> None:
    addresses = Addresses(["http://a:1"], chance=lambda: 1.0)
    assert [addresses.next(0.0)[1] for _ in range(5000)][-1] == BACKOFF_MAX_S


def test_the_one_that_served_comes_first_then_its_peers_then_the_configured_ones() -> None:
    addresses = Addresses(["http://a:1", "http://b:2"])
    addresses.next(0.0)
    url, _ = addresses.next(0.0)
    assert url == B
    addresses.welcomed(B, ["http://c:3", "http://b:2", "no url"])
    assert addresses.known == (B, C, A)
    addresses.ended(60.0)
    assert [addresses.next(0.0)[0] for _ in range(4)] == [B, C, A, B]


def test_after_a_good_session_the_next_attempt_is_at_once() -> None:
    addresses = Addresses(["http://a:1"], chance=lambda: 1.0)
    for _ in range(5):
        addresses.next(0.0)
    addresses.welcomed(A, [])
    addresses.ended(60.0)
    assert addresses.next(0.0) == (A, 0.0)
    assert addresses.next(0.0) == (A, pytest.approx(0.2))


def test_a_server_that_welcomes_and_throws_out_is_not_hammered() -> None:
    addresses = Addresses(["http://a:1"], chance=lambda: 1.0)
    waits = []
    for _ in range(6):
        waits.append(addresses.next(0.0)[1])
        addresses.welcomed(A, [])
        addresses.ended(0.01)
    assert waits == pytest.approx([0.0, 0.2, 0.4, 0.8, 1.6, 3.2])


def test_an_orchestrator_that_restarts_starts_the_backoff_over() -> None:
    addresses = Addresses(["http://a:1", "http://b:2"], chance=lambda: 1.0)
    for _ in range(6):
        addresses.next(0.0)
    addresses.welcomed(A, ["http://b:2"])
    addresses.ended(0.01, restarts=True)
    assert [addresses.next(0.0) for _ in range(3)] == [
        (A, pytest.approx(0.2)),
        (B, pytest.approx(0.4)),
        (A, pytest.approx(0.8)),
    ]


def test_retry_after_holds_for_its_own_address_only() -> None:
    addresses = Addresses(["http://a:1", "http://b:2"], chance=lambda: 0.0)
    addresses.next(0.0)
    addresses.refused(A, 10.0, now=0.0)
    assert addresses.next(0.0) == (B, 0.0)
    assert addresses.next(4.0) == (B, 0.0), "the other one is free"
    assert addresses.next(10.0) == (A, 0.0), "its time has come, and it is its turn"


def test_of_several_that_want_to_be_left_alone_the_first_whose_time_comes_is_next() -> None:
    addresses = Addresses(["http://a:1", "http://b:2", "http://c:3"], chance=lambda: 0.0)
    for url, retry_after_s in ((A, 10.0), (B, 3.0), (C, 7.0)):
        addresses.refused(url, retry_after_s, now=0.0)
    assert addresses.next(1.0) == (B, 2.0)
    addresses.refused(B, 30.0, now=3.0)
    assert addresses.next(3.0) == (C, 4.0)
    assert addresses.next(8.0) == (C, 0.0)
    assert addresses.next(10.5) == (A, 0.0)


def test_those_that_are_free_go_on_in_turn_with_the_backoff() -> None:
    addresses = Addresses(["http://a:1", "http://b:2", "http://c:3"], chance=lambda: 1.0)
    addresses.refused(B, 50.0, now=0.0)
    tries = [addresses.next(0.0) for _ in range(5)]
    assert [url for url, _ in tries] == [A, C, A, C, A]
    assert [wait_s for _, wait_s in tries] == pytest.approx([0.0, 0.2, 0.4, 0.8, 1.6])


def test_who_is_free_again_by_the_time_of_the_attempt_is_not_passed_over() -> None:
    addresses = Addresses(["http://a:1", "http://b:2"], chance=lambda: 1.0)
    for _ in range(5):
        addresses.next(0.0)
    addresses.refused(B, 1.0, now=0.0)
    assert addresses.next(0.0) == (B, pytest.approx(3.2)), "1.2 s are over by then"


def test_an_agent_that_holds_work_is_back_before_a_new_leader_gives_it_to_others() -> None:
    """However unlucky: the longest wait, and then a redirect to the leader, come to less than its 5 s."""
    addresses = Addresses(["http://a:1", "http://b:2"], chance=lambda: 1.0)
    for _ in range(20):
        addresses.next(0.0, is_holding=True)
    _, wait_s = addresses.next(0.0, is_holding=True)
    addresses.redirected(C, 0.0, now=wait_s)
    addresses.redirected(C, 0.0, now=wait_s)
    addresses.redirected(C, 0.0, now=wait_s)
    assert addresses.next(wait_s, is_holding=True)[1] + wait_s < 4.5


@pytest.mark.parametrize("count", [1, 2, 5])
def test_nor_do_many_addresses_keep_it_from_the_one_that_leads_next(count: int) -> None:
    """One of them begins to lead just after it was tried: the round until then comes to less than its 5 s."""
    addresses = Addresses([f"http://o{number}:1" for number in range(count)], chance=lambda: 1.0)
    for _ in range(20 * count):
        addresses.next(0.0, is_holding=True)
    assert sum(addresses.next(0.0, is_holding=True)[1] for _ in range(count)) == pytest.approx(3.0)


def test_a_redirect_counts_before_what_its_target_asked_for_earlier() -> None:
    addresses = Addresses(["http://a:1", "http://b:2"], chance=lambda: 0.0)
    addresses.refused(B, 30.0, now=0.0)
    addresses.redirected(B, 2.0, now=0.0)
    assert addresses.next(0.0) == (B, 2.0)
    assert addresses.next(2.0) == (A, 0.0)


def test_retry_after_has_a_limit() -> None:
    addresses = Addresses(["http://a:1"], chance=lambda: 0.0)
    addresses.refused(A, 86_400.0, now=0.0)
    assert addresses.next(0.0) == (A, 60.0)


def test_a_redirect_is_followed_first_and_at_once() -> None:
    addresses = Addresses(["http://a:1"], chance=lambda: 1.0)
    addresses.next(0.0)
    addresses.redirected(B, 0.0, now=0.0)
    assert addresses.next(0.0) == (B, 0.0)
    assert addresses.next(0.0) == (A, pytest.approx(0.2))


def test_a_redirect_waits_as_long_as_it_says() -> None:
    addresses = Addresses(["http://a:1"])
    addresses.redirected(B, 3.0, now=0.0)
    assert addresses.next(1.0) == (B, 2.0)


def test_two_servers_that_name_each_other_are_not_hammered() -> None:
    addresses = Addresses(["http://a:1"], chance=lambda: 1.0)
    waits = []
    for k in range(7):
        waits.append(addresses.next(0.0)[1])
        addresses.redirected((A, B)[k % 2], 0.0, now=0.0)
    assert waits[:2] == [0.0, 0.0] and waits[-1] == 1.0, "a leader was named: it is not far"


def test_what_a_server_names_is_never_from_wss_to_ws() -> None:
    secure = "wss://a/agents/connect"
    assert redirect_target(secure, "http://b:2") is None
    assert redirect_target(secure, "https://b") == "wss://b/agents/connect"
    assert redirect_target(A, "https://b") == "wss://b/agents/connect"
    assert redirect_target(A, "ftp://b") is None
    addresses = Addresses(["https://a"])
    addresses.welcomed(secure, ["http://b:2", "https://c"])
    assert addresses.known == (secure, "wss://c/agents/connect")


def test_the_number_of_addresses_is_bounded() -> None:
    addresses = Addresses(["http://a:1"])
    addresses.welcomed(A, [f"http://p{k}" for k in range(10_000)])
    for k in range(1000):
        addresses.redirected(f"ws://q{k}/agents/connect", 0.0, now=0.0)
    assert len(addresses.known) < 100
