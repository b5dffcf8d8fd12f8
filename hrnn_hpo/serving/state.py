"""Users as they act: a state per user that each event moves on in constant time, however long the history.

The first event of a user reads the stored history once. What a client may send, and over which protocol, is server's.
"""

from collections import Counter, OrderedDict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from threading import Lock

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hrnn_hpo.data.featurize import CONTINUE, NEW_SESSION, NEW_USER, gap_bucket
from hrnn_hpo.data.repeats import OWN_EVENTS, OwnItems
from hrnn_hpo.data.requests import request_after
from hrnn_hpo.model.encode import WINDOW_ROWS
from hrnn_hpo.model.ensemble import AnyModel
from hrnn_hpo.model.inputs import StepInputs, pack
from hrnn_hpo.model.request_time import pack_requests
from hrnn_hpo.serving.recommender import Recommendation, Recommender, best_items, check_k, code_of

# A state takes a few kilobytes and some 200 bytes for each item of the user. Beyond these numbers whoever was longest
# without an event or a question is forgotten.
MAX_LIVE = 200_000  # users and anonymous sessions with events since the start
MAX_READ = 10_000  # users who only asked
MAX_JOINED_EVENTS = 1_000  # the newest events of an anonymous session that its user inherits


@dataclass(frozen=True)
class Event:
    """One event as it happens; an unknown type counts as none, an empty value is read as in training."""

    item: str
    timestamp: int  # unix seconds
    event_type: str | None = None
    event_value: float | None = None


@dataclass(frozen=True, slots=True)
class ItemPast:
    """What a user had of one item: how many events, and the newest one's time and place in the history."""

    count: int
    timestamp: int
    place: int


@dataclass
class UserState:
    """Where one user is: what the next step reads, and what scores the items now."""

    state: Tensor  # (n_blocks, 1, S)
    output: Tensor  # (1, output_width), read out when somebody asks
    last_timestamp: int | None  # None: no event yet
    last_session: int | str | None  # of the log: its code; live: its name
    past: dict[int, ItemPast]  # by item code
    n_events: int
    inherited: deque[tuple[Event, str]] = field(default_factory=lambda: deque(maxlen=MAX_JOINED_EVENTS))


@dataclass(frozen=True)
class Counts:
    live_users: int
    anonymous_sessions: int
    applied: int  # events since the start
    ignored: int
    forgotten: int  # users and sessions whose events since the start are lost to MAX_LIVE


class UserStates:
    """The live users of one recommender; safe to call from several threads.

    An event without a user belongs to its session. Once the session names its user, its events so far become the
    user's, and so does everything that comes for the session later. A session of the stored log has no name here, so
    where the log has a SESSION_ID, a user's first live event opens a session.
    """

    def __init__(self, recommender: Recommender) -> None:
        self.recommender = recommender
        self._users: OrderedDict[str, UserState] = OrderedDict()
        self._sessions: OrderedDict[str, UserState] = OrderedDict()  # anonymous
        self._joined: OrderedDict[str, str] = OrderedDict()  # session -> user
        self._read: OrderedDict[str, UserState] = OrderedDict()  # without live events
        self._n_applied = self._n_ignored = self._n_forgotten = 0
        self._lock = Lock()

    def put(self, session_id: str, events: Sequence[Event], user_id: str | None = None) -> tuple[int, int]:
        """Move a user on by some events, and return how many counted and how many were ignored.

        Events on items the model does not know are ignored. Events count in order of time; one that comes late counts
        as if it happened with the newest before it.
        """
        known = [event for event in events if self._item_code(event.item) is not None]
        known.sort(key=lambda event: event.timestamp)
        self._read_ahead(session_id if user_id is None else user_id)
        with self._lock:
            if user_id is None:
                user_id = self._joined.get(session_id)
            if user_id is not None:
                self._join(session_id, user_id)
            if known and user_id is not None:
                self._advance(self._live_user(user_id), [(event, session_id) for event in known])
            elif known:
                anonymous = self._sessions.get(session_id) or self._stored("")
                self._remember(self._sessions, session_id, anonymous)
                self._advance(anonymous, [(event, session_id) for event in known])
                anonymous.inherited.extend((event, session_id) for event in known)
            self._n_applied += len(known)
            self._n_ignored += len(events) - len(known)
        return len(known), len(events) - len(known)

    def recommend(
        self,
        user_id: str,
        k: int = 25,
        at: int | None = None,
        session_id: str | None = None,
        tolerance: int | None = 0,
    ) -> list[Recommendation]:
        """Return the `k` best items for a user now, best first; the id of an anonymous session stands for its user.

        `at` is when they are asked for, in unix seconds, and `session_id` the caller's session: where the log has a
        SESSION_ID, another one than that of the user's last event is a new session. None: nobody knows. The user's
        state does not change. Clocks differ: a time up to `tolerance` seconds before the user's last event, None for
        any, is taken as that event's own. Raises ConfigError unless 1 <= k <= 500 and for a time that the model does
        not read, DataError for an earlier time.
        """
        check_k(k)
        if at is not None:
            self.recommender.require_request_time()
        self._read_ahead(user_id)
        with self._lock:
            user = self._find(user_id)
            output, own, seen = user.output, _own_items(user), np.fromiter(user.past, dtype=np.int64)
            last, last_session = user.last_timestamp, user.last_session
        model, log = self.recommender.saved.model, self.recommender.saved.histories
        requests = None
        if at is not None:
            late = max((last or 0) - at, 0)
            request = request_after(
                at + late if tolerance is None or late <= tolerance else at,
                last,
                self.recommender.saved.configuration.hyperparameters.session_gap,
                user=user_id,
                changed=session_id is not None and log.session_ids is not None and session_id != last_session,
            )
            requests = pack_requests(request, output.device)
        with torch.no_grad():
            readout = model.readout(output, requests)
        items, scores = best_items(self.recommender, readout, own, (np.zeros_like(seen), seen), k)
        return self.recommender.named(items[0], scores[0])

    def counts(self) -> Counts:
        """Return how many users and sessions are live, and what became of the events."""
        with self._lock:
            return Counts(len(self._users), len(self._sessions), self._n_applied, self._n_ignored, self._n_forgotten)

    def _read_ahead(self, name: str) -> None:
        """Read the stored history of a user, or of a session's user, before the lock is held that others wait for."""
        with self._lock:
            user_id = name if self._knows(name) else self._joined.get(name, name)
            if user_id in self._users or user_id in self._read or not self._knows(user_id):
                return
        user = self._stored(user_id)
        with self._lock:
            if user_id not in self._users:
                self._keep_read(user_id, self._read.get(user_id) or user)

    def _keep_read(self, user_id: str, user: UserState) -> UserState:
        self._read[user_id] = user
        self._read.move_to_end(user_id)
        if len(self._read) > MAX_READ:
            self._read.popitem(last=False)
        return user

    def _find(self, user_id: str) -> UserState:
        if user_id not in self._users and not self._knows(user_id):
            if user_id in self._sessions:
                self._sessions.move_to_end(user_id)
                return self._sessions[user_id]
            user_id = self._joined.get(user_id, user_id)
        if user_id in self._users:
            self._users.move_to_end(user_id)
            return self._users[user_id]
        if not self._knows(user_id):
            user_id = ""  # all strangers share one state
        return self._keep_read(user_id, self._read.get(user_id) or self._stored(user_id))

    def _live_user(self, user_id: str) -> UserState:
        user = self._users.get(user_id)
        if user is None:
            user = (self._read.pop(user_id, None) if user_id else None) or self._stored(user_id)
        self._remember(self._users, user_id, user)
        return user

    def _remember(self, users: OrderedDict[str, UserState], name: str, user: UserState) -> None:
        users[name] = user
        users.move_to_end(name)
        if len(users) > MAX_LIVE:
            users.popitem(last=False)
            self._n_forgotten += 1

    def _join(self, session_id: str, user_id: str) -> None:
        self._joined[session_id] = user_id
        self._joined.move_to_end(session_id)
        if len(self._joined) > MAX_LIVE:
            self._joined.popitem(last=False)
        anonymous = self._sessions.pop(session_id, None)
        if anonymous is not None:
            self._advance(self._live_user(user_id), list(anonymous.inherited))

    def _stored(self, user_id: str) -> UserState:
        """Return the state after a user's stored history; the start state for an unknown user."""
        model, history = self.recommender.saved.model, self.recommender.history(user_id)
        steps, _ = self.recommender.steps_of(history)
        output, state = advance(model, steps, model.start_state(1))
        has_events = history.n_events > 0
        sessions = history.session_ids
        return UserState(
            state=state,
            output=output,
            last_timestamp=int(history.timestamps[-1]) if has_events else None,
            last_session=int(sessions[-1]) if has_events and sessions is not None else None,
            past=_past_of(history.items, history.timestamps),
            n_events=history.n_events,
        )

    def _advance(self, user: UserState, events: Iterable[tuple[Event, str]]) -> None:
        log = self.recommender.saved.histories
        session_gap = self.recommender.saved.configuration.hyperparameters.session_gap
        items, gaps, control, types, values = [], [], [], [], []
        for event, session in events:
            code = self._item_code(event.item)
            assert code is not None
            if user.last_timestamp is None:
                gaps.append(0)
                control.append(NEW_USER)
            else:
                gap = max(event.timestamp - user.last_timestamp, 0)
                changed = log.session_ids is not None and session != user.last_session
                gaps.append(int(gap_bucket(gap)))
                control.append(NEW_SESSION if changed or gap >= session_gap else CONTINUE)
            names = log.event_type_names
            items.append(code)
            types.append(1 + names.index(event.event_type) if event.event_type in names else 0)
            values.append(np.nan if event.event_value is None else event.event_value)
            user.last_timestamp = max(event.timestamp, user.last_timestamp or 0)
            user.last_session = session
            before = user.past.get(code)
            user.past[code] = ItemPast(1 + (before.count if before else 0), user.last_timestamp, user.n_events)
            user.n_events += 1
        steps = StepInputs(
            items=np.array(items, dtype=np.int32),
            gap_buckets=np.array(gaps, dtype=np.uint8),
            control=np.array(control, dtype=np.uint8),
            event_types=None if log.event_types is None else np.array(types, dtype=np.int32),
            event_values=None if log.event_values is None else np.array(values, dtype=np.float32),
        )
        user.output, user.state = advance(self.recommender.saved.model, steps, user.state)

    def _knows(self, user_id: str) -> bool:
        return code_of(self.recommender.saved.histories.user_ids, user_id) is not None

    def _item_code(self, item: str) -> int | None:
        return code_of(self.recommender.saved.histories.item_ids, item)


def _past_of(items: NDArray[np.int32], timestamps: NDArray[np.int64]) -> dict[int, ItemPast]:
    """Return the past of every item of a history, oldest event first."""
    counts = Counter(items.tolist())
    return {
        item: ItemPast(counts[item], timestamp, place)
        for place, (item, timestamp) in enumerate(zip(items.tolist(), timestamps.tolist(), strict=True))
    }


def _own_items(user: UserState) -> OwnItems:
    """Return what `own_items_after` returns for the user's events."""
    own = {item: past for item, past in user.past.items() if user.n_events - past.place <= OWN_EVENTS}
    newest = np.array([past.timestamp for past in own.values()], dtype=np.int64)
    return OwnItems(
        rows=np.zeros(len(own), dtype=np.int64),
        items=np.fromiter(own, dtype=np.int64),
        counts=np.array([past.count for past in own.values()], dtype=np.int64),
        gap_buckets=gap_bucket((user.last_timestamp or 0) - newest),
    )


@torch.no_grad()
def advance(model: AnyModel, steps: StepInputs, state: Tensor) -> tuple[Tensor, Tensor]:
    """Return one user's output after the last of n >= 1 steps, (1, output_width), and state, (n_blocks, 1, S)."""
    device = model.item_bias.device
    output = state
    for begin in range(0, len(steps.items), WINDOW_ROWS):
        size = min(WINDOW_ROWS, len(steps.items) - begin)
        packed, _ = pack(steps, np.array([begin]), np.array([size]), device)
        output, state = model(packed, state, keep=torch.tensor([size - 1], device=device))
    return output, state
