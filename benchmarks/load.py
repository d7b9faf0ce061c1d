"""A lean HTTP/1.1 load generator: keep-alive connections, each with one request in flight.

    python -m benchmarks.load HOST PORT PATH --connections 16 --seconds 5 < bodies.txt

Reads one request body a line, sends them in turn, and prints one JSON object: requests, errors,
rps, p50_ms, p99_ms. It runs in a process of its own so that it does not share an interpreter with
what it measures; one `select` loop over raw sockets costs it little of the machine.
"""

from __future__ import annotations

import argparse
import json
import selectors
import socket
import sys
from dataclasses import dataclass, field
from itertools import cycle
from time import perf_counter

_HEAD_END = b"\r\n\r\n"
_LENGTH = b"content-length:"


@dataclass(slots=True)
class Tally:
    """What was measured."""

    latencies: list[float] = field(default_factory=list)
    errors: int = 0
    reconnects: int = 0

    def summary(self, seconds: float) -> dict[str, float]:
        """Return rates and percentiles."""
        ordered = sorted(self.latencies)
        return {
            "requests": len(ordered),
            "errors": self.errors,
            "reconnects": self.reconnects,
            "rps": round(len(ordered) / seconds, 1),
            "p50_ms": _percentile(ordered, 0.50),
            "p99_ms": _percentile(ordered, 0.99),
        }


class Connection:
    """One keep-alive connection with one request in flight."""

    def __init__(self, address: tuple[str, int], poll: selectors.BaseSelector) -> None:
        self._address = address
        self._poll = poll
        self._request = b""
        self._received = b""
        self._began = 0.0
        self._open()

    def send(self, request: bytes) -> None:
        """Send a request; the connection must be free."""
        self._request = request
        self._received = b""
        self._began = perf_counter()
        self._socket.sendall(request)

    def receive(self, tally: Tally) -> bool:
        """Read what is there; True when the response is complete and booked.

        A connection that was closed between two requests (the ingress does so when its
        configuration changes) is opened again, as any client would; its latency counts from the
        first try.
        """
        try:
            part = self._socket.recv(262_144)
        except ConnectionResetError:
            part = b""
        if not part:
            if self._received:
                message = "the service closed a connection within a response"
                raise ConnectionError(message)
            self.close()
            self._open()
            self._socket.sendall(self._request)
            tally.reconnects += 1
            return False
        self._received += part
        end = self._received.find(_HEAD_END)
        if end < 0:
            return False
        head = self._received[:end].lower()
        at = head.find(_LENGTH)
        if at < 0:
            message = "a response without content-length"
            raise ConnectionError(message)
        length = int(head[at + len(_LENGTH) :].split(b"\r\n", 1)[0])
        if len(self._received) < end + len(_HEAD_END) + length:
            return False
        tally.latencies.append(perf_counter() - self._began)
        tally.errors += b" 20" not in head[:12]
        return True

    def close(self) -> None:
        """Close the connection."""
        self._poll.unregister(self._socket)
        self._socket.close()

    def _open(self) -> None:
        self._socket = socket.create_connection(self._address, timeout=30)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._poll.register(self._socket, selectors.EVENT_READ, self)


def drive(
    address: tuple[str, int],
    requests: list[bytes],
    *,
    connections: int,
    seconds: float | None,
) -> dict[str, float]:
    """Send requests in turn over some connections; `seconds` None means each of them once."""
    upcoming = iter(requests) if seconds is None else cycle(requests)
    tally, poll = Tally(), selectors.DefaultSelector()
    began = perf_counter()
    deadline = began + seconds if seconds is not None else float("inf")
    open_ = 0
    for _ in range(connections):
        request = next(upcoming, None)
        if request is None:
            break
        Connection(address, poll).send(request)
        open_ += 1
    while open_:
        for key, _ in poll.select():
            connection = key.data
            if not connection.receive(tally):
                continue
            request = next(upcoming, None) if perf_counter() < deadline else None
            if request is None:
                connection.close()
                open_ -= 1
            else:
                connection.send(request)
    return tally.summary(perf_counter() - began)


def post(host: str, path: str, body: bytes) -> bytes:
    """Return the bytes of a POST request."""
    head = (
        f"POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _percentile(ordered: list[float], share: float) -> float:
    if not ordered:
        return 0.0
    return round(ordered[min(int(share * len(ordered)), len(ordered) - 1)] * 1e3, 3)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load", description=__doc__)
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("path")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--seconds", type=float, help="else every body once")
    options = parser.parse_args()
    requests = [
        post(options.host, options.path, line.rstrip(b"\n")) for line in sys.stdin.buffer if line
    ]
    address = (options.host, options.port)
    result = drive(address, requests, connections=options.connections, seconds=options.seconds)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
