"""Addresses of this machine are asked directly, whatever proxy the environment names."""

import json
from http.server import BaseHTTPRequestHandler

import pytest
from local_server import serving

from mammoth_utils import openai_client
from mammoth_utils.curation.teacher import answer_store, cost_ledger, live_requests
from mammoth_utils.curation.teacher.teacher import Teacher, TeacherError
from mammoth_utils.evaluation.engines.endpoint import EndpointDecoder
from mammoth_utils.evaluation.engines.requests import Completion, Request, complete

DEAD = "http://127.0.0.1:9"  # the discard port, where nothing listens
VARIABLES = ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY")


@pytest.fixture(params=[DEAD, "socks5://127.0.0.1:9", "http://user:secret@proxy.example:3128"])
def proxied(request, monkeypatch):
    """An environment whose every proxy variable names a proxy that does not answer."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name in VARIABLES[:6]:
        monkeypatch.setenv(name, request.param)


class Models(BaseHTTPRequestHandler):
    """A server with one model that completes every prompt with `4`."""

    def do_GET(self):
        self.reply({"object": "list", "data": [{"id": "m", "object": "model", "created": 1, "owned_by": "test"}]})

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        choice = {"index": 0, "text": "4", "finish_reason": "stop", "logprobs": None,
                  "message": {"role": "assistant", "content": "4"}}  # fmt: skip
        self.reply({"id": "c", "object": "text_completion", "created": 1, "model": "m", "choices": [choice]})

    def reply(self, value):
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        """Say nothing."""


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_server_of_this_machine_is_asked_without_the_proxy(host, proxied):
    with serving(Models) as server:
        address = server.url.replace("127.0.0.1", host) + "/v1"
        assert complete(EndpointDecoder(address), [Request("2 + 2", 8)]) == [Completion("4", "stop")]
        teacher = Teacher(address, "m", price="0,0", timeout_s=5)
        with live_requests.open_client(teacher) as client:
            answer = client.chat.completions.create(model="m", messages=[{"role": "user", "content": "2 + 2"}])
        assert answer.choices[0].message.content == "4"


@pytest.mark.parametrize(
    ("url", "here"),
    [
        ("http://localhost:8000/v1", True), ("http://127.8.9.1/v1", True), ("http://[::1]:8000/v1", True),
        ("http://0.0.0.0:8000", True), ("http://LOCALHOST", True), ("https://api.localhost/v1", True),
        ("http://10.0.0.7:8000/v1", False), ("https://api.openai.com/v1", False), ("http://localhost.evil.com", False),
        ("http://127.0.0.1.nip.io", False), ("", False),
    ],
)  # fmt: skip
def test_what_counts_as_this_machine(url, here):
    assert openai_client.is_this_machine(url) is here


def test_a_failed_request_names_the_proxy_without_its_password(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert openai_client.name_proxy("http://far.example/v1") == ""
    monkeypatch.setenv("http_proxy", "http://user:secret@proxy.example:3128")
    clause = openai_client.name_proxy("http://far.example/v1")
    assert "proxy.example:3128" in clause
    assert "secret" not in clause
    monkeypatch.setenv("no_proxy", "far.example")
    assert openai_client.name_proxy("http://far.example/v1") == ""


def test_a_teacher_of_this_machine_that_is_not_there_is_named_in_seconds(tmp_path, monkeypatch):
    monkeypatch.setattr(live_requests, "LOCAL_PATIENCE_S", 0.2)
    teacher = Teacher(f"{DEAD}/v1", "m", price="0,0")
    body = {"model": "m", "messages": [{"role": "user", "content": "2 + 2"}], "max_tokens": 8}
    with (
        answer_store.Store(tmp_path / "store.sqlite") as store,
        pytest.raises(TeacherError, match=r"nothing listens at http://127.0.0.1:9/v1: start the teacher"),
    ):
        live_requests.send({"r": body}, teacher, store, cost_ledger.Budget(0.0), lambda: None)
