"""A webhook that does not answer delays only the objects that it is registered for."""

from __future__ import annotations

import base64
import json
import ssl
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from kroasync.controller.shares import HEAVY_AT_ONCE
from kroasync.playground import Playground
from tests.integration.cluster import Lab, Obj, config, config_map, eventually

pytestmark = pytest.mark.integration

# More than the controller's workers, and than its requests at a time.
MANY = 48
# The timeouts of the API server for a webhook, and of the controller for the API server.
PATIENCE_S = 30


class Webhook:
    """A webhook that allows everything: at once, or, after `hold`, only after `release`."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self.certificate = certificate
        self.asked = 0
        self._lock = threading.Lock()
        self._released = threading.Event()
        self._released.set()
        webhook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                webhook._wait()
                review["response"] = {"uid": review.pop("request")["uid"], "allowed": True}
                body = json.dumps(review).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 2 * MANY

            def handle_error(self, *_: object) -> None:
                """The API server may give up."""

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self._server = Server(("127.0.0.1", 0), Handler)
        # The handler does the TLS handshake; otherwise a handshake that hangs would block other connections.
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self._server.server_address[1]}/"

    def _wait(self) -> None:
        with self._lock:
            self.asked += 1
        self._released.wait()

    def hold(self) -> None:
        self._released.clear()

    def release(self) -> None:
        self._released.set()

    def close(self) -> None:
        self.release()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def webhook(playground: Playground) -> Iterator[Webhook]:
    """The configuration of the webhook, which uses the API server's own certificate for this address."""
    found = Webhook(playground.certificate, playground.certificate.with_suffix(".key"))
    yield found
    found.close()


def test_a_webhook_that_hangs_holds_up_only_those_it_is_for(lab: Lab, webhook: Webhook) -> None:
    lab.define("Hanging", [config("c", metadata={"labels": {"hang": lab.namespace}}, data={"v": "1"})])
    lab.define("Fine", [config("c", data={"v": "1"})])
    lab.cluster.create(_configuration(lab, webhook))
    try:
        # The API server learns of it after a moment.
        eventually(lambda: _is_asked(lab, webhook), what="the webhook is asked")
        webhook.hold()
        asked, began = webhook.asked, time.monotonic()
        for number in range(MANY):
            lab.instance("Hanging", f"h{number:02}")
        eventually(lambda: webhook.asked - asked, lambda count: count >= HEAVY_AT_ONCE, what="workers are held up")
        for number in range(5):
            lab.instance("Fine", f"f{number}")
        for number in range(5):
            lab.await_state("Fine", f"f{number}")
        assert time.monotonic() - began < PATIENCE_S
        assert lab.child("ConfigMap", "h00-c") == {}
        webhook.release()
        for number in range(MANY):
            lab.await_state("Hanging", f"h{number:02}", timeout_s=60)
    finally:
        lab.cluster.delete(lab.cluster.path_of(_configuration(lab, webhook)))


def _configuration(lab: Lab, webhook: Webhook) -> Obj:
    """For ConfigMaps with a label of the lab."""
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["configmaps"]}
    certificate = base64.b64encode(webhook.certificate.read_bytes()).decode()
    hook = {
        "name": "hang.example.com",
        "clientConfig": {"url": webhook.url, "caBundle": certificate},
        "rules": [rule],
        "objectSelector": {"matchLabels": {"hang": lab.namespace}},
        "failurePolicy": "Fail",
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "timeoutSeconds": PATIENCE_S,
    }
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": lab.namespace},
        "webhooks": [hook],
    }


def _is_asked(lab: Lab, webhook: Webhook) -> bool:
    probe = config_map("probe", lab.namespace, labels={"hang": lab.namespace})
    lab.cluster.call("POST", lab.cluster.path("ConfigMap", lab.namespace) + "?dryRun=All", probe)
    return webhook.asked > 0
