"""HTTP/1.1 as uvicorn speaks it, with one change: what is no HTTP at all is refused as the app refuses everything else."""

from typing import Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from holdfast_server.problems import malformed_request
from holdfast_server.security import SECURITY_HEADERS

_STATUS: Final = 400


class Protocol(H11Protocol):
    """Answers a request that cannot be parsed (or whose headers are over 64 KiB) with a problem and the security headers."""

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  (the signature is uvicorn's)
        """Refuse and hang up. `msg` is for the log, which has it already."""
        problem = malformed_request().response()
        secured = [(name.encode(), value.encode()) for name, value in SECURITY_HEADERS.items()]
        headers = [*problem.raw_headers, *secured, (b"connection", b"close")]
        events = [
            h11.Response(status_code=_STATUS, headers=headers, reason=b"Bad Request"),
            h11.Data(data=bytes(problem.body)),
            h11.EndOfMessage(),
        ]
        for event in events:
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()
