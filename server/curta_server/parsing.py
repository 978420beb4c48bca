"""What the HTTP parser refuses before there is a request: the same kind of answer as everywhere.

uvicorn's own is plain text. Used by `app` as the server's HTTP protocol.
"""

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from curta_server.errors import Problem


class ProblemProtocol(HttpToolsProtocol):
    """uvicorn's HTTP on httptools, with problem+json for what is no HTTP."""

    def send_400_response(self, msg: str) -> None:
        body = msgspec.json.encode(Problem("malformed", f"This is no valid HTTP request: {msg}").body())
        head = (
            "HTTP/1.1 400 Bad Request\r\ncontent-type: application/problem+json\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()
