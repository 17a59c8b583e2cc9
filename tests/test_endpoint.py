"""Servers: asked greedily and many at once, waited for while that helps, and every fault named in one line."""

import itertools
import json
import os
import signal
import threading
import time

import fault_server
import pytest
from fault_server import serve

from mammoth_utils.evaluation.engines import endpoint
from mammoth_utils.evaluation.engines.endpoint import (
    FAILURES_IN_ROW,
    FIRST_FAILURES,
    MALFORMED_TRIES,
    PROBE,
    EndpointDecoder,
    EndpointError,
    is_endpoint,
)
from mammoth_utils.evaluation.engines.requests import Completion, Request, RequestQueue, complete

GOOD = [f"good, number {number}" for number in range(4)]
CONTEXT = ". If that is its context, start it with a longer one (vLLM: --max-model-len, llama-server: --ctx-size)"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """No test waits as long as one does for a real server, and no key of the tester's goes anywhere."""
    monkeypatch.setattr(endpoint, "FIRST_WAIT_S", 0.01)
    for name in endpoint.KEY_VARIABLES:
        monkeypatch.delenv(name, raising=False)


def asked(decoder, prompts, chat=False):
    """What a run hands in: completions and failures by prompt, and what it raises."""
    done, failed, raised = {}, {}, None
    queue = RequestQueue(
        lambda request, completion: done.update({request.prompt: completion}),
        lambda request, reason: failed.update({request.prompt: reason}),
    )
    queue.put([Request(prompt, 8, chat) for prompt in prompts])
    queue.close()
    try:
        decoder.run(queue)
    except EndpointError as error:
        raised = str(error)
    return done, failed, raised


def backwards(prompts):
    return {prompt: Completion(prompt[::-1], "stop", 3, 5) for prompt in prompts}


# --- what is asked, and how many at once -----------------------------------------------------------------------------


@pytest.mark.parametrize("chat", [False, True])
def test_a_server_is_asked_greedily_for_as_many_at_once_as_wanted(monkeypatch, chat):
    monkeypatch.setenv("MAMMOTH_API_KEY", "sk-of-the-environment\n")
    prompts = [f"prompt {number}" for number in range(12)]
    with serve("slow") as server:
        decoder = EndpointDecoder(f"{server.url}/v1", concurrency=3)
        requests = [Request(prompt, 9, chat, ("### Instruction",)) for prompt in prompts]
        assert complete(decoder, requests) == list(backwards(prompts).values())
        complete(decoder, [Request("2 + 2", 9, chat)])
    assert server.most == 3
    *bodies, plain = server.bodies
    prompt = {"messages": [{"role": "user", "content": "2 + 2"}]} if chat else {"prompt": "2 + 2"}
    settings = {"model": "m", "max_tokens": 9, "temperature": 0.0, "key": "Bearer sk-of-the-environment"}
    assert plain == settings | prompt, "a stop list that is empty is left out"
    assert all(body["stop"] == ["### Instruction"] for body in bodies)
    assert "sk-of" not in json.dumps(decoder.describe())


@pytest.mark.parametrize(
    ("given", "owner", "slots", "expected", "because"),
    [
        (3, "vllm", 7, 3, "as given"),
        (0, "vllm", 0, 256, "vLLM makes large batches"),
        (0, "sglang", 0, 256, "and so does SGLang"),
        (0, "llamacpp", 7, 7, "llama.cpp names its slots, and queues the rest"),
        (0, "", 0, 16, "an unknown server"),
    ],
)
def test_how_many_are_asked_at_once(given, owner, slots, expected, because):
    with serve() as server:
        server.models, server.slots = [{"id": "m", "owned_by": owner}], slots
        decoder = EndpointDecoder(f"{server.url}/v1", concurrency=given)
    assert decoder.describe()["batch"] == expected, because


@pytest.mark.parametrize("concurrency", [-1, endpoint.MOST_CONCURRENCY + 1])
def test_a_concurrency_out_of_range_is_refused(concurrency):
    with pytest.raises(ValueError, match=rf"expected 0 \(chosen\) to 1000 requests at once, got {concurrency}"):
        EndpointDecoder("http://127.0.0.1:9/v1", concurrency=concurrency)


def test_more_than_the_hundred_connections_of_a_plain_client_are_open_at_once():
    prompts = [f"prompt {number}" for number in range(150)]
    with serve("150 together") as server:
        done, failed, raised = asked(EndpointDecoder(f"{server.url}/v1", concurrency=150), prompts)
    assert (done, failed, raised) == (backwards(prompts), {}, None)


# --- the address and the list of models ------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["localhost:8000/v1", "127.0.0.1:8000", "host.example:8000/v1", "localhost/v1"])
def test_an_address_without_its_scheme_is_named_as_one(address):
    with pytest.raises(ValueError, match="looks like the address of a server; write http:// in front"):
        is_endpoint(address)


@pytest.mark.parametrize("name", ["owner/model", "owner/model-1.5b", "runs/train/x", "C:/models/x", "./localhost"])
def test_a_name_that_is_no_address_stays_one(name):
    assert not is_endpoint(name)


ASK_A_NAME = (
    " lists no model at /models; name the one that it serves as {url}#NAME, or check the path: most servers want /v1 "
    "at its end"
)


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("no models", ASK_A_NAME),
        ("models not allowed", ASK_A_NAME),
        ("empty models", ASK_A_NAME),
        ("models of another form", ' answers with {{"models": ["m"]}} in place of a list of models'),
        ("models in HTML", " answers with a web page, so the path or a login is wrong: '<html>Please sign in</html>'"),
        ("models in words", " answers with no JSON: 'not JSON'"),
        ("models behind a key", " refuses a request without a key; MAMMOTH_API_KEY is not set (401): no key"),
        (
            "models hang",
            " did not answer within 0.2 s; if it is only slow, send fewer requests at once (concurrency=4)",
        ),
        ("loading", " answers 503: Loading model; given up after "),
    ],
)
def test_a_server_that_is_none_is_named_in_one_line(fault, says):
    with serve(fault) as server, pytest.raises(EndpointError) as caught:
        EndpointDecoder(f"{server.url}/v1", patience_s=0.1, timeout_s=0.2)
    expected, message = (f"{server.url}/v1{says}").format(url=f"{server.url}/v1"), str(caught.value)
    assert message == expected or (fault == "loading" and message.startswith(expected))


@pytest.mark.parametrize("fault", ["no models", "models not allowed", "empty models"])
def test_a_server_without_a_list_is_asked_by_the_name_that_is_given(fault):
    with serve(fault) as server:
        decoder = EndpointDecoder(f"{server.url}/v1#mine")
        assert asked(decoder, GOOD) == (backwards(GOOD), {}, None)
    assert decoder.identity["id"] == server.bodies[0]["model"] == "mine"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("", " serves several models; its models: one, two; name one as "),
        ("#no", " serves no model 'no'; its models: "),
    ],
)
def test_a_server_with_several_models_wants_one_named(name, says):
    with serve() as server:
        server.models = [{"id": "one"}, {"id": "two"}]
        with pytest.raises(ValueError, match=says):
            EndpointDecoder(f"{server.url}/v1{name}")
        assert EndpointDecoder(f"{server.url}/v1#two").describe()["model"] == "two"


def test_a_server_that_is_not_there_is_named_at_once():
    with pytest.raises(EndpointError, match=r"^no server answers at http://127.0.0.1:9/v1 \(.*refused\); start one"):
        EndpointDecoder("http://127.0.0.1:9/v1")


def test_a_key_that_cannot_be_sent_is_refused_without_showing_it(monkeypatch):
    monkeypatch.setenv("MAMMOTH_API_KEY", "ключ")
    with pytest.raises(ValueError, match="^MAMMOTH_API_KEY holds characters that cannot be sent") as caught:
        EndpointDecoder("http://127.0.0.1:9/v1")
    assert "ключ" not in str(caught.value)


# --- answers that are completions ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "chat", "expected", "because"),
    [
        ("cut character", False, Completion("4 ", "length", 3, 5), "the limit of tokens cut a character"),
        ("cut bytes", True, Completion("4 ", "length", 3, 5), "the server sends its bytes as they are"),
        ("own replacement", False, Completion("\ufffd 4 \ufffd", "stop", 3, 5), "the model wrote them"),
        ("half a pair", False, Completion("4 \ufffd.", "stop", 3, 5), "a lone surrogate cannot be written to disk"),
        ("half a pair", True, Completion("4 \ufffd.", "stop", 3, 5), "nor in a chat"),
        ("parts", True, Completion("4!", "stop", 3, 5), "the content is a list of parts"),
        ("reasoning", True, Completion("", "length", 3, 5), "all tokens went into reasoning"),
        ("other finish", False, Completion("4", "", 0, 0), "an unknown finish, and no usage"),
        ("completions only", False, Completion("dab", "stop", 3, 5), "no chat is needed"),
        ("chat only", True, Completion("dab", "stop", 3, 5), "nor completions for a chat"),
    ],
)
def test_an_answer_is_read_whatever_its_form(fault, chat, expected, because):
    with serve(fault) as server:
        done, failed, raised = asked(EndpointDecoder(f"{server.url}/v1"), ["bad"], chat)
    assert (done, failed, raised) == ({"bad": expected}, {}, None), because
    done["bad"].text.encode()


def test_a_server_that_refuses_every_second_request_for_its_rate_is_asked_to_the_end(monkeypatch):
    monkeypatch.setattr(endpoint, "FIRST_WAIT_S", 100)  # longer than the patience: it waits as the server asks it to
    prompts = [f"prompt {number}" for number in range(12)]
    with serve("every second is too many") as server:
        decoder = EndpointDecoder(f"{server.url}/v1", concurrency=4, patience_s=30)
        assert asked(decoder, prompts) == (backwards(prompts), {}, None)
    assert max(server.asked.values()) > 1


# --- faults of one request -------------------------------------------------------------------------------------------

GIVEN_UP = "; given up after "


@pytest.mark.parametrize(
    ("fault", "chat", "tries", "says"),
    [
        ("context", False, 1, "refuses a prompt (400): maximum context length is 64" + CONTEXT),
        ("not ASCII", True, 1, "refuses a prompt (400): контекст 太长 [1m" + CONTEXT),
        ("validation", False, 1,
         'refuses a prompt (422): [{"loc": ["body", "prompt"], "msg": "too long"}]' + CONTEXT),
        ("HTML", False, MALFORMED_TRIES,
         "answers with a web page, so the path or a login is wrong: '<html> <p>Welcome</p></html>'"),
        ("words", False, MALFORMED_TRIES, "answers with no JSON: 'upstream timed out'"),
        ("no choices", False, MALFORMED_TRIES, 'answers without a choice: {"choices": []}'),
        ("error", False, MALFORMED_TRIES, 'answers with an error: {"message": "out of slots é"}'),
        ("null", False, MALFORMED_TRIES,
         'answers with a choice whose text is no text: {"index": 0, "finish_reason": "stop", "text": null}'),
        ("null", True, MALFORMED_TRIES,
         'answers with a choice whose text is no text: {"index": 0, "finish_reason": "stop", "message": '
         '{"role": "assistant", "content": null}}'),
        ("no parts", True, MALFORMED_TRIES,
         'answers with a choice whose text is no text: {"index": 0, "finish_reason": "stop", "message": '
         '{"role": "assistant", "content": [{}]}}'),
        ("broken", False, 0, "answers 500: boom" + GIVEN_UP),
        ("gateway", False, 0, "answers 502: a web page: 502 Bad Gateway nginx" + GIVEN_UP),
        ("busy", False, 0, "answers 429: slow down" + GIVEN_UP),
        ("hang", False, 0,
         "did not answer within 1 s; if it is only slow, send fewer requests at once (concurrency=4)" + GIVEN_UP),
        ("cut body", False, 0, "broke the connection off (peer closed connection without sending complete message"),
    ],
)  # fmt: skip
def test_a_request_that_fails_lets_the_others_go_on(fault, chat, tries, says):
    bad = "bad, and asked first because it is the longest"
    with serve(fault) as server:
        server.concerns = "bad"
        patience_s, timeout_s = (0, 1) if fault == "hang" else (30 if tries else 0.1, 30)
        decoder = EndpointDecoder(f"{server.url}/v1", concurrency=1, patience_s=patience_s, timeout_s=timeout_s)
        done, failed, raised = asked(decoder, [*GOOD, bad], chat)
    assert (done, raised) == (backwards(GOOD), None)
    expected = f"{server.url}/v1 {says}"
    assert failed[bad] == expected if tries else failed[bad].startswith(expected)
    assert failed[bad].isprintable()
    assert server.asked[bad] == tries or not tries


def test_a_prompt_that_cannot_be_sent_fails_alone():
    with serve() as server:
        done, failed, raised = asked(EndpointDecoder(f"{server.url}/v1"), [*GOOD, "half a pair \ud83d"])
    assert (done, raised) == (backwards(GOOD), None)
    assert failed["half a pair \ud83d"].startswith("the prompt cannot be sent as UTF-8")


# --- faults of the server --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "chat", "says"),
    [
        ("chat only", False,
         "{url} has no /completions for 'm' (404: Not Found), so it serves chat alone: ask it with a chat prompt "
         "(-p prompt chat_pot), or serve the model with vLLM, SGLang or llama-server"),
        ("not allowed", False,
         "{url} has no /completions for 'm' (405: Method Not Allowed), so it serves chat alone: ask it with a chat "
         "prompt (-p prompt chat_pot), or serve the model with vLLM, SGLang or llama-server"),
        ("completions only", True,
         "{url} has no /chat/completions for 'm' (404: Not Found), so it completes plain text alone: ask it with the "
         "paper's prompt (-p prompt mammoth), or serve the model with vLLM, SGLang or llama-server"),
        ("no such model", False,
         "{url} knows no model 'm' (404: The model `m` does not exist.); name one that it serves as {url}#NAME"),
        ("key", False, "{url} refuses a request without a key; MAMMOTH_API_KEY is not set (401): wrong key"),
        ("credit", True, "{url} answers 402: no credit left"),
        ("redirect", False, "{url} redirects without end; check the address: most servers want /v1 at its end"),
        ("redirect to a list", False, "{url} redirects to {root}/v1/elsewhere; give the address that it leads to"),
    ],
)  # fmt: skip
def test_a_fault_of_the_server_ends_the_run_and_keeps_what_was_completed(fault, chat, says):
    bad = [f"bad {number}" for number in range(5)]
    with serve(fault) as server:
        server.concerns = "bad"
        done, failed, raised = asked(EndpointDecoder(f"{server.url}/v1", concurrency=1), [*GOOD, *bad], chat)
    assert (done, failed) == (backwards(GOOD), {})
    assert raised == says.format(url=f"{server.url}/v1", root=server.url)
    assert sum(prompt in server.asked for prompt in bad) == 1, "one is enough to know"


@pytest.mark.parametrize(
    ("fault", "after", "most", "says"),
    [
        ("context", 0, FIRST_FAILURES, "refuses a prompt (400)"),
        ("null", 0, FIRST_FAILURES, "answers with a choice whose text is no text"),
        ("broken", 0, FIRST_FAILURES, "answers 500: boom"),
        ("broken", 3, FAILURES_IN_ROW, "answers 500: boom"),
    ],
)
def test_a_server_that_refuses_everything_is_not_asked_to_the_end(fault, after, most, says):
    with serve(fault) as server:
        server.after = after
        decoder = EndpointDecoder(f"{server.url}/v1", concurrency=1, patience_s=0)
        done, failed, raised = asked(decoder, [f"prompt {number}" for number in range(60)])
    assert raised.startswith(f"every request fails: {server.url}/v1 {says}")
    assert (len(done), len(failed)) == (after, most)
    assert (PROBE in server.asked) == (fault == "context")


def test_prompts_that_the_context_cannot_hold_come_first_and_do_not_end_the_run():
    long = [f"too long for the context {number}" for number in range(50)]
    with serve("long prompts") as server:
        done, failed, raised = asked(EndpointDecoder(f"{server.url}/v1", concurrency=1), [*long, *GOOD])
    assert (done, set(failed), raised) == (backwards(GOOD), set(long), None)
    assert server.asked[PROBE] == 1


def test_a_restart_of_the_server_is_waited_for():
    prompts = [f"prompt {number}" for number in range(40)]
    result = []
    with serve("slow") as first:
        decoder = EndpointDecoder(f"{first.url}/v1", concurrency=4, patience_s=10)
        thread = threading.Thread(target=lambda: result.extend(asked(decoder, prompts)))
        thread.start()
        while len(first.bodies) < 8:
            time.sleep(0.01)
    time.sleep(0.2)
    with serve("slow", first.server_port) as second:
        thread.join(10)
    assert result == [backwards(prompts), {}, None]
    assert first.asked
    assert second.asked


def test_a_server_that_stays_away_ends_the_run_after_the_patience():
    with serve() as server:
        decoder = EndpointDecoder(f"{server.url}/v1", concurrency=4, patience_s=0.1)
    done, failed, raised = asked(decoder, GOOD)
    assert (done, failed) == ({}, {})
    assert raised.startswith(f"no server answers at {server.url}/v1 (")
    assert "start one, for example with vLLM, and repeat the command: what was completed is kept" in raised


# --- ends before the queue's -----------------------------------------------------------------------------------------


def workers():
    return [thread for thread in threading.enumerate() if "_work" in thread.name]


def wait_until_no_worker_is_left():
    end = time.monotonic() + 5
    while workers():
        assert time.monotonic() < end, workers()
        time.sleep(0.01)


@pytest.mark.parametrize("handed", ["completion", "failure"])
def test_an_error_of_who_takes_the_completions_reaches_the_caller_and_ends_the_workers(handed):
    def disk_is_full(*_):
        raise OSError("disk full")

    queue = RequestQueue(disk_is_full, disk_is_full)
    queue.put([Request(prompt, 8) for prompt in GOOD])  # open: a worker without a request waits for one
    with serve("context" if handed == "failure" else "") as server:
        decoder = EndpointDecoder(f"{server.url}/v1", concurrency=8)
        with pytest.raises(OSError, match="disk full"):
            decoder.run(queue)
        wait_until_no_worker_is_left()


@pytest.mark.parametrize("how", ["interrupt", "cancel"])
def test_a_run_ends_at_once_while_its_requests_hang(how):
    done = []
    queue = RequestQueue(lambda *_: done.append(_), lambda *_: done.append(_))
    queue.put([Request(prompt, 8) for prompt in GOOD])
    end = queue.cancel if how == "cancel" else lambda: os.kill(os.getpid(), signal.SIGINT)
    # A process may have been started with interrupts ignored, and a test must not wait for one without end.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    late = threading.Timer(8, queue.cancel)
    with serve("hang") as server:
        decoder = EndpointDecoder(f"{server.url}/v1", concurrency=8)
        threading.Timer(0.3, end).start()
        late.start()
        begun = time.monotonic()
        try:
            decoder.run(queue)
            interrupted = False
        except KeyboardInterrupt:
            interrupted = True
        finally:
            signal.signal(signal.SIGINT, before)
            late.cancel()
        assert time.monotonic() - begun < 4, "the server hangs for ten seconds"
        assert interrupted == (how == "interrupt")
        server.release.set()
        wait_until_no_worker_is_left()
    assert not done, "what arrives later is not handed in: its place may be closed"


def test_requests_that_follow_from_completions_are_asked_in_the_same_run():
    done, numbers = [], itertools.count()

    def follow(request, completion):
        done.append(completion.text)
        if next(numbers) < 5:
            queue.put([Request(completion.text + "!", 8)])
        else:
            queue.close()

    queue = RequestQueue(follow, follow)
    queue.put([Request("a", 8)])
    with serve() as server:
        EndpointDecoder(f"{server.url}/v1", concurrency=2).run(queue)
    assert done == ["a", "!a", "!a!", "!!a!", "!!a!!", "!!!a!!"]


def test_every_fault_of_the_server_has_a_test():
    with open(__file__, encoding="utf8") as file:
        text = file.read()
    assert not [name for name in (*fault_server.MODELS, *fault_server.REFUSALS) if f'"{name}"' not in text]
