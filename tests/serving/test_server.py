"""The service over HTTP: Amazon's requests and answers, events in either form, bad requests that say why."""

import json
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from live_users import NOW, ask, log_of, recommender_for, scores, serving_thread, stored_histories
from small_runs import run_small

from hrnn_hpo.data.synthetic import markov
from hrnn_hpo.errors import ConfigError
from hrnn_hpo.experiment import save_experiment
from hrnn_hpo.serving import server as serving
from hrnn_hpo.serving.state import Event, UserStates


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Serve a small model from a thread, on a free port."""
    app = serving.create_app(recommender_for(log_of(stored_histories(False))))
    with serving_thread(app) as address:
        yield address


def event_body(**changes: Any) -> dict[str, Any]:
    return {
        "trackingId": "t",
        "sessionId": "s",
        "userId": "u1",
        "eventList": [{"eventType": "view", "sentAt": NOW, "itemId": "i03"}],
    } | changes


def test_recommendations_have_amazons_form(url: str) -> None:
    status, answer = ask(f"{url}/recommendations", {"userId": "u0", "itemId": "i03", "numResults": 3})
    assert status == 200
    assert [set(entry) for entry in answer["itemList"]] == [{"itemId", "score"}] * 3
    assert answer["recommendationId"].startswith("RID-")
    _, whole = ask(f"{url}/recommendations", {"userId": "u0"})
    assert len(whole["itemList"]) == 12  # of 25 asked for
    assert sum(entry["score"] for entry in whole["itemList"]) == pytest.approx(1.0, abs=1e-5)
    assert whole["itemList"][:3] == answer["itemList"]
    assert whole["recommendationId"] != answer["recommendationId"]


def test_an_event_changes_its_users_recommendations_at_once(url: str) -> None:
    asked = {"userId": "u1"}
    before = ask(f"{url}/recommendations", asked)[1]["itemList"]
    events = [
        {"eventType": "buy", "sentAt": NOW, "itemId": "i03", "eventValue": 4, "properties": {"page": "1"}},
        {"eventType": "unheard of", "sentAt": "2020-09-15T00:00:00Z", "itemId": "i04", "properties": '{"a": 1}'},
        {"eventType": "view", "sentAt": NOW + 0.5, "itemId": "unknown"},
        {"eventType": "view", "sentAt": NOW},
    ]
    health = ask(f"{url}/health")[1]
    assert ask(f"{url}/events", event_body(eventList=events)) == (200, {"nApplied": 2, "nIgnored": 2})
    assert ask(f"{url}/recommendations", asked)[1]["itemList"] != before
    status, now = ask(f"{url}/health")
    assert (status, now["status"], now["nItems"]) == (200, "ok", 12)
    assert now["nEventsApplied"] - health["nEventsApplied"] == 2
    assert now["nEventsIgnored"] - health["nEventsIgnored"] == 2


@pytest.mark.parametrize(
    "properties",
    [
        {"itemId": "i03", "eventValue": 4},
        '{"itemId": "i03", "eventValue": "4.0", "page": 1}',
        {"itemId": "i03", "eventValue": 4, "page": {"deep": []}},
    ],
    ids=["an object", "its text", "with others"],
)
def test_an_item_in_an_events_properties_counts(properties: Any) -> None:
    """Amazon's PutEvents began so, and much code still sends events this way."""
    plain = UserStates(recommender_for(log_of(stored_histories(False))))
    plain.put("s", [Event("i03", NOW, "view", 4.0)], "u1")
    with serving_thread(serving.create_app(recommender_for(log_of(stored_histories(False))))) as address:
        event = {"eventType": "view", "sentAt": NOW, "properties": properties}
        assert ask(f"{address}/events", event_body(eventList=[event])) == (200, {"nApplied": 1, "nIgnored": 0})
        _, answer = ask(f"{address}/recommendations", {"userId": "u1"})
    found = {entry["itemId"]: entry["score"] for entry in answer["itemList"]}
    assert found == pytest.approx(scores(plain.recommend("u1")), rel=1e-6)


@pytest.mark.parametrize("properties", ["free text", "[1]", "NaN", "[" * 100_000, {"page": "1"}, {"itemId": None}])
def test_other_properties_say_nothing(url: str, properties: Any) -> None:
    event = {"eventType": "view", "sentAt": NOW, "properties": properties}
    assert ask(f"{url}/events", event_body(eventList=[event])) == (200, {"nApplied": 0, "nIgnored": 1})


def test_an_events_own_fields_go_before_its_properties(url: str) -> None:
    event = {"eventType": "view", "sentAt": NOW, "itemId": "unknown", "properties": {"itemId": "i03"}}
    assert ask(f"{url}/events", event_body(eventList=[event])) == (200, {"nApplied": 0, "nIgnored": 1})


def test_an_event_of_a_far_day_is_refused(url: str) -> None:
    """Accepted, it would stand before everything that its user does for years."""
    status, answer = ask(f"{url}/events", event_body(eventList=[EVENT, EVENT | {"sentAt": 90_000_000_000}]))
    assert status == 400
    assert "eventList[1].sentAt: must not be more than a day ahead" in answer["message"]


RECOMMENDATIONS: list[tuple[Any, str]] = [
    ({}, "userId: Field required"),
    ({"userId": ""}, "userId: String should have at least 1 character"),
    ({"userId": 7}, "userId: Input should be a valid string"),
    ({"userId": "u1", "numResults": 501}, "numResults: Input should be less than or equal to 500"),
    ({"userId": "u1", "numResults": 0}, "numResults: Input should be greater than or equal to 1"),
    ({"userId": "u1", "numResults": "5"}, "numResults: Input should be a valid integer"),
    ({"userId": "u1", "filterArn": "f"}, "filterArn: is not supported by this server"),
    (b"{", "The body must be JSON, but "),
    (["u1"], "The body: "),
]
EVENT = event_body()["eventList"][0]
EVENTS: list[tuple[Any, str]] = [
    ({"eventList": [EVENT]}, "trackingId: Field required; sessionId: Field required"),
    (event_body(eventList=[]), "eventList: List should have at least 1 item"),
    (event_body(eventList=[EVENT] * 11), "eventList: List should have at most 10 items"),
    (event_body(eventList=[EVENT, {"itemId": "i"}]), "eventList[1].eventType: Field required"),
    (event_body(eventList=[{"eventType": "v", "itemId": "i"}]), "eventList[0].sentAt: Field required"),
    (event_body(eventList=[EVENT | {"sentAt": NOW * 1000}]), "must be unix seconds from 0 to"),
    (event_body(eventList=[EVENT | {"sentAt": "noon"}]), "but got 'noon'"),
    (event_body(eventList=[EVENT | {"sentAt": True}]), "eventList[0].sentAt: must be unix seconds"),
    (event_body(eventList=[EVENT | {"sentAt": float("nan")}]), "eventList[0].sentAt: must be unix seconds"),
    (event_body(eventList=[EVENT | {"eventValue": 1e300}]), "eventList[0].eventValue: Input should be less"),
    (event_body(eventList=[EVENT | {"eventValue": float("nan")}]), "eventList[0].eventValue: Input should be"),
    (event_body(eventList=[EVENT | {"itemID": "i"}]), "eventList[0].itemID: is no field of this request"),
    (
        event_body(eventList=[EVENT | {"properties": {"eventValue": "much"}}]),
        "eventList[0].properties.eventValue: Input should be a valid number",
    ),
]


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [("recommendations", *case) for case in RECOMMENDATIONS] + [("events", *case) for case in EVENTS],
)
def test_a_bad_request_says_which_field_breaks_which_rule(url: str, path: str, body: Any, message: str) -> None:
    status, answer = ask(f"{url}/{path}", body)
    assert status == 400
    assert message in answer["message"]


def test_amazons_own_client_understands_the_service(url: str) -> None:
    session_module = pytest.importorskip("botocore.session")
    from botocore.exceptions import ClientError

    def client(name: str) -> Any:
        return session_module.get_session().create_client(
            name, "us-east-1", endpoint_url=url, aws_access_key_id="any", aws_secret_access_key="any"
        )

    answer = client("personalize-runtime").get_recommendations(campaignArn="arn:any", userId="u3", numResults=5)
    assert len(answer["itemList"]) == 5
    client("personalize-events").put_events(
        trackingId="t",
        sessionId="s",
        userId="u3",
        eventList=[{"eventType": "view", "sentAt": NOW, "itemId": "i03", "properties": '{"a": "b"}'}],
    )
    after = client("personalize-runtime").get_recommendations(campaignArn="arn:any", userId="u3", numResults=5)
    assert after["itemList"] != answer["itemList"]
    runtime = client("personalize-runtime")
    with pytest.raises(runtime.exceptions.InvalidInputException, match="numResults"):
        runtime.get_recommendations(campaignArn="arn:any", userId="u3", numResults=501)
    with pytest.raises(runtime.exceptions.InvalidInputException, match="filterArn: is not supported"):
        runtime.get_recommendations(campaignArn="arn:any", userId="u3", filterArn="arn:filter")
    with pytest.raises(ClientError, match=r"UnknownOperationException.*POST /personalize-ranking is not served here"):
        runtime.get_personalized_ranking(campaignArn="arn:any", userId="u3", inputList=["i03"])


@pytest.mark.parametrize(
    ("method", "path", "body", "content_type", "status", "kind", "says"),
    [
        (
            "POST",
            "/recommendations",
            b'{"userId": "u3"}',
            "application/x-www-form-urlencoded",
            400,
            "InvalidInput",
            "content-type",
        ),
        ("POST", "/recommendations", b'{"userId": "\xff"}', "application/json", 400, "InvalidInput", "body"),
        ("POST", "/recommendations", b'{"userId": ', "application/json", 400, "InvalidInput", "must be JSON"),
        ("GET", "/recommendations", None, "application/json", 405, "UnknownOperation", "GET /recommendations"),
        ("POST", "/nowhere", b"{}", "application/json", 404, "UnknownOperation", "POST /nowhere"),
    ],
)
def test_every_refusal_has_the_shape_of_amazons(
    url: str, method: str, path: str, body: bytes | None, content_type: str, status: int, kind: str, says: str
) -> None:
    request = urllib.request.Request(url + path, body, {"content-type": content_type}, method=method)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=10)
    with refused.value as answer:
        assert (answer.code, answer.headers["x-amzn-ErrorType"]) == (status, f"{kind}Exception")
        assert says in json.loads(answer.read())["message"]


def test_a_failure_of_ours_is_a_message_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(UserStates, "recommend", fail)
    app = serving.create_app(recommender_for(log_of(stored_histories(False))))
    with serving_thread(app) as address:
        answer = ask(f"{address}/recommendations", {"userId": "u3"})
    assert answer == (500, {"message": "The server failed (ZeroDivisionError)"})


def test_a_taken_port_is_refused(url: str) -> None:
    port = int(url.rsplit(":", 1)[1])
    with pytest.raises(ConfigError, match=f"127.0.0.1:{port}: cannot be listened on"):
        serving.serve(recommender_for(log_of(stored_histories(False))), "127.0.0.1", port, print)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    experiment, result = run_small(markov(n_users=60, n_items=40, n_events=20), epochs=1)
    folder: Path = tmp_path_factory.mktemp("models") / "model"
    save_experiment(folder, experiment, result)
    return folder


def test_the_command_serves_until_it_is_interrupted(model: Path, tmp_path: Path) -> None:
    program = [sys.executable, "-m", "hrnn_hpo.cli.main", "serve", str(model), "--port", "0"]
    errors = tmp_path / "stderr"
    with errors.open("w") as file, subprocess.Popen(program, stdout=subprocess.PIPE, stderr=file, text=True) as process:
        try:
            address = wait_for(lambda: re.search(r"at (http://127\.0\.0\.1:\d+)", errors.read_text()), process)
            assert ask(f"{address}/health")[1]["nItems"] == 40
            before = ask(f"{address}/recommendations", {"userId": "u07"})[1]["itemList"]
            assert len(before) == 25
            assert ask(f"{address}/events", event_body(userId="u07"))[0] == 200
            assert ask(f"{address}/recommendations", {"userId": "u07"})[1]["itemList"] != before
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0
        finally:
            process.kill()
        assert process.stdout is not None
        assert process.stdout.read() == ""
    assert errors.read_text().endswith("Stopped.\n")


def wait_for(found: Callable[[], re.Match[str] | None], process: subprocess.Popen[str]) -> str:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        match = found()
        if match:
            return match[1]
        time.sleep(0.05)
    raise AssertionError(f"the server did not start; exit code {process.poll()}")
