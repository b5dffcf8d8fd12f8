"""Recommendations over HTTP, with the paths and fields of Amazon Personalize's runtime and events services.

What an event does to a user is state's work; here requests are checked and answered.
"""

import json
import re
import socket
import time
import uuid
from collections.abc import Callable
from typing import Annotated, Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel
from starlette.exceptions import HTTPException

from hrnn_hpo import __version__
from hrnn_hpo.data import MAX_ID_LENGTH
from hrnn_hpo.errors import ConfigError, DataError, HRNNError
from hrnn_hpo.serving.recommender import MAX_RESULTS, Recommender
from hrnn_hpo.serving.state import Event, UserStates
from hrnn_hpo.serving.times import context_seconds, unix_seconds

MAX_EVENTS = 10  # of one PutEvents request, as in Amazon Personalize
NOT_SUPPORTED = ("filterArn", "filterValues", "promotions", "metadataColumns")  # fields of Amazon's requests
MAX_VALUE = 1e15  # its square, which the model's norm takes, is still far inside float32

DAY = 86_400  # seconds: clocks of phones and servers differ, and messages arrive late, but not by more

Identifier = Annotated[str, Field(min_length=1, max_length=MAX_ID_LENGTH)]


class _Request(BaseModel):
    """A request's body: camel case on the wire, no unknown fields, no conversion of numbers from text."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", strict=True, frozen=True)


class Context(BaseModel):
    """What is known beside the user when a recommendation is asked for; other keys are accepted and not read."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)
    __pydantic_extra__: dict[str, str] = Field(init=False)

    REQUEST_TIME: Annotated[int | None, BeforeValidator(context_seconds)] = None
    SESSION_ID: Identifier | None = None  # read beside a time, where the log has sessions


class RecommendationsRequest(_Request):
    user_id: Identifier
    num_results: int = Field(25, ge=1, le=MAX_RESULTS)
    item_id: str | None = None  # ignored, as for this recipe type in the service
    campaign_arn: str | None = None  # ignored: one process serves one model
    recommender_arn: str | None = None
    context: Context | None = None


def _read_properties(value: Any) -> Any:
    """Return the object that properties are, or whose JSON text they are; nothing of what is neither."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return None
    return value if isinstance(value, dict) else None


class Properties(BaseModel):
    """What an event's properties say where its own fields do not, as in the first version of Amazon's PutEvents."""

    model_config = ConfigDict(extra="ignore", frozen=True, coerce_numbers_to_str=True)

    item_id: str | None = Field(None, alias="itemId")
    event_value: float | None = Field(None, alias="eventValue", ge=-MAX_VALUE, le=MAX_VALUE, allow_inf_nan=False)


class EventRequest(_Request):
    event_type: Identifier
    sent_at: Annotated[int, BeforeValidator(unix_seconds)]
    item_id: str | None = None  # an event without an item, here or in its properties, is ignored
    event_value: float | None = Field(None, ge=-MAX_VALUE, le=MAX_VALUE, allow_inf_nan=False)
    properties: Annotated[Properties | None, BeforeValidator(_read_properties)] = None
    # What follows is accepted and not read.
    event_id: str | None = None
    impression: list[str] | None = None
    recommendation_id: str | None = None
    metric_attribution: dict[str, str] | None = None


class EventsRequest(_Request):
    tracking_id: Identifier
    session_id: Identifier
    user_id: Identifier | None = None
    event_list: list[EventRequest] = Field(min_length=1, max_length=MAX_EVENTS)


def create_app(recommender: Recommender, clock: Callable[[], float] | None = None) -> FastAPI:
    """Return the application: POST /recommendations, POST /events, GET /health.

    `clock` gives the time, in unix seconds, of requests that do not say theirs; without one it is unknown. Raises
    ConfigError for a clock where the model does not read the time of a request.
    """
    if clock is not None:
        recommender.require_request_time()
    app = FastAPI(title="hrnn-hpo", version=__version__, docs_url=None, redoc_url=None)
    states = UserStates(recommender)
    newest = int(recommender.saved.histories.timestamps.max(initial=0))

    # Plain functions: FastAPI runs them in threads, so that a long history holds up nobody's connection.
    @app.post("/recommendations")
    def recommendations(request: RecommendationsRequest) -> dict[str, Any]:
        context = request.context or Context()
        at = context.REQUEST_TIME
        if at is None and clock is not None:
            at = int(clock())
        tolerance = DAY if context.REQUEST_TIME is not None else None  # a made-up log may be years ahead of the clock
        items = states.recommend(request.user_id, request.num_results, at, context.SESSION_ID, tolerance)
        return {
            "itemList": [{"itemId": entry.item, "score": entry.score} for entry in items],
            "recommendationId": f"RID-{uuid.uuid4()}",
        }

    @app.post("/events")
    def events(request: EventsRequest) -> dict[str, int]:
        latest = max(int(time.time()), newest) + DAY  # a user's later events and requests would stand before this one
        for place, event in enumerate(request.event_list):
            if event.sent_at > latest:
                raise DataError(
                    f"eventList[{place}].sentAt: must not be more than a day ahead of this server's clock, but got "
                    f"{event.sent_at}"
                )
        happened = [_event(event) for event in request.event_list]
        applied, ignored = states.put(request.session_id, happened, request.user_id)
        return {"nApplied": applied, "nIgnored": ignored}

    @app.get("/health")
    def health() -> dict[str, Any]:
        counts, log = states.counts(), recommender.saved.histories
        return {
            "status": "ok",
            "version": __version__,
            "seen": recommender.seen,
            "nUsers": log.n_users,
            "nItems": log.n_items,
            "nLiveUsers": counts.live_users,
            "nAnonymousSessions": counts.anonymous_sessions,
            "nEventsApplied": counts.applied,
            "nEventsIgnored": counts.ignored,
            "nForgotten": counts.forgotten,
        }

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        sent = request.headers.get("content-type", "")
        if not re.fullmatch(r"application/([^;]*[+])?json", sent.partition(";")[0].strip(), re.IGNORECASE):
            # Browsers send a form or plain text from any page to any address without asking, and JSON not.
            return _invalid(f"The body must come with the header content-type: application/json, but got {sent!r}")
        return _invalid("; ".join(_problem(problem) for problem in error.errors()))

    @app.exception_handler(ConfigError)
    @app.exception_handler(DataError)
    def refused(_: Request, error: HRNNError) -> JSONResponse:
        return _invalid(str(error))

    @app.exception_handler(HTTPException)
    def not_ours(request: Request, error: HTTPException) -> JSONResponse:
        if error.status_code in (404, 405):
            asked = f"{request.method} {request.url.path}"
            served = "POST /recommendations, POST /events and GET /health"
            return _failed(f"{asked} is not served here; {served} are", "UnknownOperationException", error.status_code)
        return _invalid(str(error.detail))

    @app.exception_handler(Exception)
    def failed(_: Request, error: Exception) -> JSONResponse:
        # The traceback goes to the server's log.
        return _failed(f"The server failed ({type(error).__name__})", "InternalServerException", 500)

    return app


def _event(event: EventRequest) -> Event:
    item, value, told = event.item_id, event.event_value, event.properties
    if told is not None:
        item = told.item_id if item is None else item
        value = told.event_value if value is None else value
    return Event(item or "", event.sent_at, event.event_type, value)  # no item is called "": it is ignored and counted


def serve(
    recommender: Recommender,
    host: str,
    port: int,
    on_ready: Callable[[str], None],
    clock: Callable[[], float] | None = None,
) -> None:
    """Serve until the process is interrupted; `on_ready` is told the address once it takes connections.

    Port 0 is any free one; `clock` is as in `create_app`. Raises ConfigError when the address cannot be listened on.
    """
    app = create_app(recommender, clock)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family)
    except OSError as error:
        raise ConfigError(f"{host}:{port}: cannot be listened on ({error.strerror}).") from error
    with listening:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False))
        shown = f"[{host}]" if ":" in host else host
        on_ready(f"http://{shown}:{listening.getsockname()[1]}")
        server.run(sockets=[listening])


def _invalid(message: str) -> JSONResponse:
    return _failed(message, "InvalidInputException", 400)  # the name that Amazon's clients know it by


def _failed(message: str, kind: str, status: int) -> JSONResponse:
    return JSONResponse({"message": message}, status, {"x-amzn-ErrorType": kind})


def _problem(problem: Any) -> str:
    """Return `eventList[0].sentAt: what is wrong`."""
    path = ""
    for part in problem["loc"][1:]:  # the first is "body"
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
    if problem["type"] == "json_invalid":
        return f"The body must be JSON, but {problem.get('ctx', {}).get('error', 'it is not')}"
    if problem["type"] == "extra_forbidden" and path.lstrip(".") in NOT_SUPPORTED:
        return f"{path.lstrip('.')}: is not supported by this server"
    if problem["type"] == "extra_forbidden":
        return f"{path.lstrip('.')}: is no field of this request"
    message = problem["msg"].removeprefix("Value error, ")
    return f"{path.lstrip('.') or 'The body'}: {message}"
