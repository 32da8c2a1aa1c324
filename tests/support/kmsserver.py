"""AWS KMS for tests: moto's server, on loopback, in a thread of this process.

moto does the cryptography, and enforces IAM where `enforcing` says so. What it leaves out stands in front of it, as
the API reference of AWS KMS describes it: keys that are disabled or about to be deleted wrap and unwrap nothing; and
throttling, hanging and counting, which tests ask for. Requests are otherwise passed through unchanged.
"""

import base64
import contextlib
import io
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import boto3
from moto import settings as moto_settings
from moto.core.authorization import ActionAuthenticatorMixin
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler

REGION = "eu-central-1"
_CRYPTIC = {"Encrypt", "Decrypt"}


class _Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"  # connections are kept, as AWS keeps them

    def log_request(self, *_: Any) -> None: ...


@dataclass
class KmsServer:
    """A running server. `asked`: how often each operation was; `before`: is called with each operation's name."""

    endpoint: str = ""
    asked: Counter[str] = field(default_factory=Counter)
    busy: int = 0
    hanging: float = 0
    before: Callable[[str], None] = lambda _: None
    states: dict[str, str] = field(default_factory=dict)
    app: Any = field(default_factory=lambda: DomainDispatcherApplication(create_backend_app))

    def client(self, service: str = "kms", *, who: tuple[str, str] = ("root", "testing")) -> Any:
        """Return a plain boto3 client; without more, of somebody who may do everything."""
        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id=who[0],
            aws_secret_access_key=who[1],
        )

    def key(self) -> str:
        """Make a symmetric key; return its ARN."""
        return str(self.client().create_key(Description="test")["KeyMetadata"]["Arn"])

    def disable(self, arn: str) -> None:
        self.states[_id(arn)] = "Disabled"

    def enable(self, arn: str) -> None:
        self.states.pop(_id(arn), None)

    def user(self, name: str, *actions: str) -> dict[str, str]:
        """Return the environment of a user who may do nothing but these actions."""
        iam = self.client("iam")
        iam.create_user(UserName=name)
        statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
        document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        iam.put_user_policy(UserName=name, PolicyName="rights", PolicyDocument=document)
        key = iam.create_access_key(UserName=name)["AccessKey"]
        return {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}

    @contextlib.contextmanager
    def enforcing(self) -> Iterator[None]:
        """Check signatures and policies of every request meanwhile."""
        moto_settings.INITIAL_NO_AUTH_ACTION_COUNT = 0.0
        ActionAuthenticatorMixin.request_count = 0
        try:
            yield
        finally:
            moto_settings.INITIAL_NO_AUTH_ACTION_COUNT = float("inf")

    def __call__(self, environ: dict[str, Any], start: Any) -> Any:
        operation = environ.get("HTTP_X_AMZ_TARGET", "").removeprefix("TrentService.")
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        if not operation:
            return self.app(environ, start)
        self.asked[operation] += 1
        self.before(operation)
        if self.hanging:
            time.sleep(self.hanging)
        if self.busy:
            self.busy -= 1
            return _refused(start, "ThrottlingException", "Rate exceeded")
        given = json.loads(body or b"{}")
        key = _id(given.get("KeyId", ""))
        state = self.states.get(key, "")
        if operation in _CRYPTIC and state == "Disabled":
            return _refused(start, "DisabledException", f"{key} is disabled.")
        if operation in _CRYPTIC and state == "PendingDeletion":
            return _refused(start, "KMSInvalidStateException", f"{key} is pending deletion.")
        if operation == "Decrypt" and base64.b64decode(given["CiphertextBlob"])[:36] != key.encode():
            return _refused(start, "IncorrectKeyException", "")  # moto has another word for it
        if operation == "ScheduleKeyDeletion":
            self.states[key] = "PendingDeletion"
            # moto looks keys up by their id here, where AWS takes the ARN too.
            environ["wsgi.input"] = io.BytesIO(changed := json.dumps({**given, "KeyId": key}).encode())
            environ["CONTENT_LENGTH"] = str(len(changed))
        return self.app(environ, start)


def _id(arn: str) -> str:
    return arn.rpartition("/")[2]


def _refused(start: Any, code: str, message: str) -> list[bytes]:
    said = json.dumps({"__type": code, "message": message}).encode()
    start(
        "400 Bad Request",
        [("Content-Type", "application/x-amz-json-1.1"), ("Content-Length", str(len(said)))],
    )
    return [said]


@contextlib.contextmanager
def running() -> Iterator[KmsServer]:
    """Start a server; it ends with the block."""
    server = KmsServer()
    http = ThreadedWSGIServer("127.0.0.1", 0, server, _Quiet)
    server.endpoint = f"http://127.0.0.1:{http.server_port}"
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
