"""Stands between a client and a real S3 server, and does harm to chosen requests."""

import contextlib
import http.client
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

Answer = tuple[int, list[tuple[str, str]], bytes]
Harm = Callable[["Asked"], "Answer | None"]
"""What is answered in place of the server's answer; None: nothing at all, the connection is cut."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request. `answer` passes it on to the server, and returns what that says."""

    method: str
    path: str
    answer: Callable[[], Answer]


@dataclass(slots=True, kw_only=True)
class Proxy:
    """Its address, every request it saw, and the harm to come: each is done to one request of its method, in order.

    `away`: the server is down; every connection is cut.
    """

    endpoint: str = ""
    seen: list[str] = field(default_factory=list)
    harms: list[tuple[str, Harm]] = field(default_factory=list)
    away: bool = False

    def harm(self, method: str, *harms: Harm) -> None:
        """Do harm to the next requests of a method, one each."""
        self.harms += [(method, harm) for harm in harms]

    def take(self, method: str) -> Harm | None:
        """Return the harm that is due."""
        for place, (wanted, harm) in enumerate(self.harms):
            if wanted == method:
                del self.harms[place]
                return harm
        return None


def busy(*, after: str = "0") -> Harm:
    """Refuse with 503 SlowDown, and say when to come back; the server never sees the request."""
    body = b"<Error><Code>SlowDown</Code><Message>reduce your request rate</Message></Error>"
    return lambda _: (503, [("Retry-After", after), ("Content-Type", "application/xml")], body)


def refusing(status: int, code: str) -> Harm:
    """Refuse with a code."""
    body = f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()
    return lambda _: (status, [("Content-Type", "application/xml")], body)


def none(asked: Asked) -> Answer:
    """Do no harm to this one."""
    return asked.answer()


def cut_after(asked: Asked) -> None:
    """Let the server do what was asked, and cut the connection before it can say so."""
    asked.answer()


def cut_before(asked: Asked) -> None:
    """Cut the connection; the server never sees the request."""
    del asked


def shortened(asked: Asked) -> Answer:
    """Send half of the body, and the length of all of it."""
    status, headers, body = asked.answer()
    return status, headers, body[: len(body) // 2]


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, proxy: Proxy, there: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.proxy, self.there = proxy, there


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *_: object) -> None:
        pass

    def handle(self) -> None:
        with contextlib.suppress(ssl.SSLError, ConnectionError):  # a client that does not trust us hangs up
            super().handle()

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        proxy = self.server.proxy
        proxy.seen.append(f"{self.command} {self.path}")
        asked = Asked(method=self.command, path=self.path, answer=lambda: self._passed_on(body))
        harm = proxy.take(self.command)
        given = None if proxy.away else asked.answer() if harm is None else harm(asked)
        self.close_connection = True
        if given is not None:
            self._send(*given)

    def _passed_on(self, body: bytes) -> Answer:
        connection = http.client.HTTPConnection(self.server.there, timeout=30)
        try:
            connection.request(self.command, self.path, body=body or None, headers=dict(self.headers))
            found = connection.getresponse()
            return found.status, found.getheaders(), found.read()
        finally:
            connection.close()

    def _send(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.send_response_only(status)
        kept = [(n, v) for n, v in headers if n.lower() not in {"connection", "transfer-encoding"}]
        if not any(n.lower() == "content-length" for n, _ in kept):
            kept.append(("Content-Length", str(len(body))))
        for name, value in [*kept, ("Connection", "close")]:
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = _handle  # noqa: N815 - the base's names


@contextlib.contextmanager
def between(server: str, *, certificate: Path | None = None) -> Iterator[Proxy]:
    """Run a proxy in front of a server; `certificate`: a file of key and certificate, to speak TLS with clients."""
    proxy = Proxy()
    httpd = _Server(proxy, urlsplit(server).netloc)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        httpd.socket = context.wrap_socket(httpd.socket, server_side=True)
    thread = threading.Thread(target=httpd.serve_forever, daemon=True)
    thread.start()
    scheme = "http" if certificate is None else "https"
    proxy.endpoint = f"{scheme}://127.0.0.1:{httpd.server_address[1]}"
    try:
        yield proxy
    finally:
        httpd.shutdown()
        httpd.server_close()
        thread.join()
