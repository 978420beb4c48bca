"""The proxy that other tests cut networks with does to its connections what it says."""

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.proxy import Proxy


class Echo:
    """Answers every connection with what it gets; `received` is all of it."""

    def __init__(self, listening: socket.socket) -> None:
        self.listening = listening
        self.received = b""
        self.ends: list[str] = []
        self._threads: list[threading.Thread] = []
        self._start(self._listen)

    def _start(self, target, *arguments):  # type: ignore[no-untyped-def]
        self._threads.append(threading.Thread(target=target, args=arguments))
        self._threads[-1].start()

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self.listening.accept()
            except OSError:
                return
            self._start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                while data := connection.recv(65536):
                    self.received += data
                    connection.sendall(data)
                self.ends.append("closed")
            except ConnectionError:
                self.ends.append("reset")

    def close(self) -> None:
        self.listening.shutdown(socket.SHUT_RDWR)
        self.listening.close()
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()


@pytest.fixture
def echo() -> Iterator[Echo]:
    server = Echo(socket.create_server(("127.0.0.1", 0)))
    yield server
    server.close()


@pytest.fixture
def proxy(echo: Echo) -> Iterator[Proxy]:
    with Proxy(("127.0.0.1", echo.listening.getsockname()[1])) as it:
        yield it


def connect(proxy: Proxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=10)


def ask(connection: socket.socket, question: bytes) -> bytes:
    connection.sendall(question)
    return receive(connection, len(question))


def receive(connection: socket.socket, length: int) -> bytes:
    answer = b""
    while len(answer) < length and (data := connection.recv(65536)):
        answer += data
    return answer


def hears_nothing(connection: socket.socket, within_s: float = 0.2) -> bool:
    connection.settimeout(within_s)
    try:
        connection.recv(1)
    except TimeoutError:
        return True
    finally:
        connection.settimeout(10)
    return False


def holds(condition, within_s: float = 10.0) -> bool:  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + within_s
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    return bool(condition())


def test_bytes_and_ends_are_forwarded_both_ways(proxy: Proxy, echo: Echo) -> None:
    question = bytes(range(256)) * 4000
    with connect(proxy) as connection:
        threading.Thread(target=connection.sendall, args=(question,)).start()
        assert receive(connection, len(question)) == question
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1) == b""
    assert echo.ends == ["closed"]
    assert holds(lambda: proxy.connections == 0)


def test_a_cut_resets_both_sides_and_new_connections_are_served(proxy: Proxy, echo: Echo) -> None:
    with connect(proxy) as connection:
        assert ask(connection, b"a") == b"a"
        proxy.cut()
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
    assert holds(lambda: echo.ends == ["reset"])
    with connect(proxy) as connection:
        assert ask(connection, b"b") == b"b"


def test_a_refusing_proxy_resets_old_and_new_connections_until_it_accepts(proxy: Proxy, echo: Echo) -> None:
    with connect(proxy) as old:
        assert ask(old, b"a") == b"a"
        proxy.refuse()
        with pytest.raises(ConnectionResetError):
            old.recv(1)
    with pytest.raises(ConnectionError), connect(proxy) as new:
        new.sendall(b"b")
        new.recv(1)
    proxy.accept()
    with connect(proxy) as connection:
        assert ask(connection, b"c") == b"c"
    assert echo.received == b"ac"


def test_what_is_held_arrives_after_the_release_ends_included(proxy: Proxy, echo: Echo) -> None:
    with connect(proxy) as connection:
        assert ask(connection, b"a") == b"a"
        proxy.hold()
        connection.sendall(b"b")
        connection.shutdown(socket.SHUT_WR)
        assert hears_nothing(connection)
        assert echo.received == b"a" and echo.ends == []
        proxy.release()
        assert receive(connection, 2) == b"b"
    assert echo.received == b"ab" and echo.ends == ["closed"]


def test_one_direction_alone_can_be_held(proxy: Proxy, echo: Echo) -> None:
    with connect(proxy) as connection:
        proxy.hold(to_target=False)
        connection.sendall(b"a")
        assert holds(lambda: echo.received == b"a")
        assert hears_nothing(connection)
        proxy.release()
        assert connection.recv(1) == b"a"
        proxy.hold(from_target=False)
        connection.sendall(b"b")
        assert hears_nothing(connection)
        assert echo.received == b"a"
        proxy.release()
        assert connection.recv(1) == b"b"


def test_a_held_connection_can_be_cut(proxy: Proxy, echo: Echo) -> None:
    with connect(proxy) as connection:
        assert ask(connection, b"a") == b"a"
        proxy.hold()
        connection.sendall(b"b")
        assert hears_nothing(connection)
        proxy.cut()
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
    assert holds(lambda: proxy.connections == 0)
    assert echo.received == b"a"


def test_the_connections_of_some_clients_alone_can_be_held_and_cut(proxy: Proxy) -> None:
    with connect(proxy) as one, connect(proxy) as other:
        assert ask(one, b"a") == b"a" and ask(other, b"a") == b"a"
        only = {one.getsockname()[1]}
        proxy.hold(only)
        one.sendall(b"b")
        assert ask(other, b"b") == b"b"
        assert hears_nothing(one)
        proxy.release(only)
        assert one.recv(1) == b"b"
        proxy.cut(only)
        with pytest.raises(ConnectionResetError):
            one.recv(1)
        assert ask(other, b"c") == b"c"


def test_an_action_comes_after_its_bytes_have_arrived_and_before_any_answer(proxy: Proxy, echo: Echo) -> None:
    seen: list[bool] = []

    def action() -> None:
        seen.append(holds(lambda: b"COMMIT;" in echo.received))
        proxy.cut()

    with connect(proxy) as connection:
        assert ask(connection, b"BEGIN;") == b"BEGIN;"
        proxy.on_to_target(b"COMMIT", action)
        assert ask(connection, b"COM") == b"COM"
        connection.sendall(b"MIT;")
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
    assert seen == [True]
    with connect(proxy) as connection:
        assert ask(connection, b"COMMIT") == b"COMMIT", "an action is called once"


def test_a_pattern_that_went_by_before_it_was_looked_for_calls_nothing(proxy: Proxy) -> None:
    with connect(proxy) as connection:
        assert ask(connection, b"COMMIT") == b"COMMIT"
        proxy.on_to_target(b"COMMIT", proxy.cut)
        assert ask(connection, b";") == b";"


def test_a_target_that_is_away_resets_its_clients(proxy: Proxy, echo: Echo) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with Proxy(("127.0.0.1", port)) as other, pytest.raises(ConnectionError), connect(other) as connection:
        connection.sendall(b"a")
        connection.recv(1)


def test_delay_and_speed_are_kept(proxy: Proxy) -> None:
    with connect(proxy) as connection:
        proxy.delay_s = 0.1
        began = time.monotonic()
        assert ask(connection, b"a") == b"a"
        assert time.monotonic() - began >= 0.2
        proxy.delay_s = 0.0
        assert ask(connection, b"a") == b"a"
        proxy.bytes_per_s = 50_000
        began = time.monotonic()
        assert ask(connection, b"b" * 20_000) == b"b" * 20_000
        assert time.monotonic() - began >= 0.3


def test_a_unix_socket_can_be_the_target(tmp_path: Path) -> None:
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(tmp_path / "socket"))
    listening.listen()
    echo = Echo(listening)
    try:
        with Proxy(tmp_path / "socket") as proxy, connect(proxy) as connection:
            assert ask(connection, b"a") == b"a"
            proxy.cut()
            with pytest.raises(ConnectionResetError):
                connection.recv(1)
    finally:
        echo.close()


def test_at_the_end_of_the_context_nothing_is_left(echo: Echo) -> None:
    with Proxy(("127.0.0.1", echo.listening.getsockname()[1])) as proxy:
        connection = connect(proxy)
        assert ask(connection, b"a") == b"a"
        proxy.hold()
    with connection, pytest.raises(ConnectionResetError):
        connection.recv(1)
    with pytest.raises(ConnectionRefusedError):
        connect(proxy)
