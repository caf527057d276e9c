"""Model of commits that do not wait for the disk: a server crashes, its processes live on and remember what it has lost.

One event goes from the database of its publisher to that of a subscriber. The databases are on one server or on two; that of
the publisher moves to the other server at some moment. The handler either publishes an event of its own, which has an effect
at the first publisher, or writes a mail, which one of two workers sends under a lease. Each server has one log: a crash
loses its last commits, from some moment on, in all its databases, back to the last commit that has waited for the disk.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias, TypeVar

from tests.models.explorer import Model

SERVERS = (0, 1)
WORKERS = (0, 1)
CRASHES = 2
MAX_ATTEMPTS = 3  # of mails: enough for both workers after a crash

T = TypeVar("T")
Pair: TypeAlias = tuple[T, T]


@dataclass(frozen=True)
class Guards:
    """The rules of relaxed commits (docs/protocol.md, section 9). Each can be switched off alone."""

    same_server: bool = True  # the subscriber's commit waits unless the publisher's database is on the same server
    same_session: bool = True  # after such a commit, only the session of the claim records the acknowledgement
    repeat_waits: bool = True  # a repeated event is acknowledged to another server after a commit that has waited
    claim_waits: bool = True  # an event is handed over after a commit that has waited
    lease_waits: bool = True  # a lease is taken by a commit that has waited
    hold_waits: bool = True  # an attempt to send a mail is counted by a commit that has waited


class Rows(NamedTuple):
    """The rows of both contexts, of which a server has those whose database is on it."""

    attempts: int = 0  # of the delivery, at the publisher; 2 stands for all further ones
    is_acknowledged: bool = False
    effects: frozenset[int] = frozenset()  # at the publisher: the subscriber's events that have had an effect there
    is_handled: bool = False  # at the subscriber, as is all that follows
    event: int = 0  # published by the handler
    is_event_acknowledged: bool = False
    mail: int = 0  # written by the handler
    lease: int = 0  # attempt of the mail's lease
    tries: int = 0  # attempts to send the mail, each counted before it begins
    is_sent: bool = False


Server: TypeAlias = tuple[Rows, ...]  # on disk, then after each commit that is not there yet


class Relay(NamedTuple):
    """The memory of the process that delivers the event."""

    session: int
    server: int  # of the publisher, as the session of the claim knows it
    is_repeated: bool
    phase: Literal["claimed", "stored"] = "claimed"
    is_relaxed: bool = False


class Worker(NamedTuple):
    """The memory of a process that sends the mail."""

    mail: int
    lease: int
    phase: Literal["claimed", "counted", "accepted"] = "claimed"


class State(NamedTuple):
    """The servers, what the processes remember, and what has left the servers."""

    servers: Pair[Server] = ((Rows(),), (Rows(),))
    publisher: int = 0
    subscriber: int | None = None  # not chosen yet
    writes_mail: bool = False
    session: int = 0  # of the publisher's database: a crash or a move ends all of them
    relay: Relay | None = None
    event_relay: int = 0  # the handler's event that a process is delivering
    workers: Pair[Worker | None] = (None, None)
    mails: tuple[int, ...] = ()  # accepted by the mail server
    runs: int = 0  # of the handler: each creates objects with new ids
    crashes: int = CRASHES
    has_moved: bool = False


Steps: TypeAlias = Iterator[tuple[str, State]]


def put(pair: Pair[T], index: int, value: T) -> Pair[T]:
    """Return the pair with one of its two values replaced."""
    return (value, pair[1]) if index == 0 else (pair[0], value)


def commit(state: State, server: int, *, waits: bool, **changes: object) -> State:
    """Return the state after a commit on a server. One that waits for the disk takes all commits before it along."""
    versions = state.servers[server]
    after = versions[-1]._replace(**changes)  # type: ignore[arg-type]
    kept = () if waits else versions
    return state._replace(servers=put(state.servers, server, kept if kept and kept[-1] == after else (*kept, after)))


def steps(state: State, guards: Guards) -> Steps:
    """Yield everything that may happen next."""
    if state.subscriber is None:
        for server in SERVERS:
            for writes_mail in (False, True):
                what = f"the subscriber is on server {server} and {'writes a mail' if writes_mail else 'publishes'}"
                yield what, state._replace(subscriber=server, writes_mail=writes_mail)
        return
    yield from relay_steps(state, state.subscriber, guards)
    yield from event_relay_steps(state, state.subscriber, guards)
    for worker in WORKERS:
        yield from worker_steps(state, worker, state.subscriber, guards)
    yield from server_steps(state)


def relay_steps(state: State, subscriber: int, guards: Guards) -> Steps:
    """Claim the delivery, store the event with the effects of its handler, record the acknowledgement; or die."""
    rows, relay = state.servers[state.publisher][-1], state.relay
    if relay is None:
        if not rows.is_acknowledged:
            claim = Relay(state.session, state.publisher, is_repeated=rows.attempts > 0)
            claimed = commit(state, state.publisher, waits=guards.claim_waits, attempts=min(rows.attempts + 1, 2))
            yield "a relay claims the event", claimed._replace(relay=claim)
        return
    yield "the relay dies", state._replace(relay=None)
    if relay.phase == "claimed":
        yield from store_steps(state, relay, subscriber, guards)
    elif relay.is_relaxed and relay.session != state.session and guards.same_session:
        yield "the relay has lost its session and leaves the delivery due", state._replace(relay=None)
    else:
        done = commit(state, state.publisher, waits=False, is_acknowledged=True)
        yield "the relay records the acknowledgement", done._replace(relay=None)


def store_steps(state: State, relay: Relay, subscriber: int, guards: Guards) -> Steps:
    """Store the event as handled together with the effects, unless it is stored already."""
    is_relaxed = relay.server == subscriber or not guards.same_server
    stored = state._replace(relay=relay._replace(phase="stored", is_relaxed=is_relaxed))
    if state.servers[subscriber][-1].is_handled:
        if relay.is_repeated and not is_relaxed and guards.repeat_waits:
            stored = commit(stored, subscriber, waits=True)
        yield "the subscriber has the event already", stored
    else:
        new = state.runs + 1
        effect = {"mail": new} if state.writes_mail else {"event": new}
        handled = commit(stored, subscriber, waits=not is_relaxed, is_handled=True, **effect)
        how = "without waiting" if is_relaxed else "and waits"
        yield f"the subscriber handles the event with effect {new} {how}", handled._replace(runs=new)


def event_relay_steps(state: State, subscriber: int, guards: Guards) -> Steps:
    """Deliver the event that the handler has published; its effect happens once for each event."""
    rows, event = state.servers[subscriber][-1], state.event_relay
    if not event:
        if rows.event and not rows.is_event_acknowledged:
            claimed = commit(state, subscriber, waits=True) if guards.claim_waits else state
            yield f"another relay claims event {rows.event}", claimed._replace(event_relay=rows.event)
        return
    effects = state.servers[state.publisher][-1].effects | {event}
    arrived = commit(state, state.publisher, waits=True, effects=effects)
    yield f"event {event} has its effect, its relay dies", arrived._replace(event_relay=0)
    if arrived.servers[subscriber][-1].event == event:
        done = commit(arrived, subscriber, waits=False, is_event_acknowledged=True)
        yield f"event {event} has its effect and is acknowledged", done._replace(event_relay=0)


def worker_steps(state: State, number: int, subscriber: int, guards: Guards) -> Steps:
    """Take the lease of the mail, count the attempt, send it, record that; or die. A lease may run out at any time."""
    rows, worker = state.servers[subscriber][-1], state.workers[number]
    if worker is None:
        if rows.mail and not rows.is_sent and rows.lease < MAX_ATTEMPTS:
            taken = commit(state, subscriber, waits=guards.lease_waits, lease=rows.lease + 1)
            mine = Worker(rows.mail, rows.lease + 1)
            yield f"worker {number} takes lease {mine.lease} of mail {mine.mail}", set_worker(taken, number, mine)
        return
    yield f"worker {number} dies", set_worker(state, number, None)
    holds = (rows.mail, rows.lease, rows.is_sent) == (worker.mail, worker.lease, False)
    if worker.phase == "counted":
        sent = state._replace(mails=tuple(sorted((*state.mails, worker.mail))))
        label = f"worker {number} sends mail {worker.mail}"
        yield label, set_worker(sent, number, worker._replace(phase="accepted"))
    elif not holds:
        yield f"worker {number} has lost its lease", set_worker(state, number, None)
    elif worker.phase == "claimed":
        counted = commit(state, subscriber, waits=guards.hold_waits, tries=rows.tries + 1)
        yield f"worker {number} counts its attempt", set_worker(counted, number, worker._replace(phase="counted"))
    else:
        done = commit(state, subscriber, waits=True, is_sent=True)
        yield f"worker {number} records that mail {worker.mail} is sent", set_worker(done, number, None)


def set_worker(state: State, number: int, worker: Worker | None) -> State:
    """Return the state with another memory of one worker."""
    return state._replace(workers=put(state.workers, number, worker))


def server_steps(state: State) -> Steps:
    """Write a commit to the disk in the background, crash, or move the publisher's database."""
    for server, versions in enumerate(state.servers):
        if len(versions) > 1:
            written = state._replace(servers=put(state.servers, server, versions[1:]))
            yield f"server {server} writes a commit to its disk", written
        if state.crashes:
            session = state.session + (server == state.publisher)
            for lost in range(len(versions)):
                left = state._replace(session=session, crashes=state.crashes - 1)
                survivor = (versions[len(versions) - 1 - lost],)
                yield (
                    f"server {server} crashes and loses {lost}",
                    left._replace(servers=put(left.servers, server, survivor)),
                )
    if not state.has_moved:
        yield "the publisher's database moves to server 1", move(state)


def move(state: State) -> State:
    """Move the publisher's rows. Its sessions end; what replication transfers is on the disk of the old server."""
    rows = state.servers[0][-1]
    left = commit(state, 0, waits=True)
    arrived = commit(
        left, 1, waits=True, attempts=rows.attempts, is_acknowledged=rows.is_acknowledged, effects=rows.effects
    )
    return arrived._replace(publisher=1, session=state.session + 1, has_moved=True)


def violation(state: State) -> str:
    """Return what is wrong with the state, if anything."""
    if state.subscriber is None:
        return ""
    published, subscribed = state.servers[state.publisher][-1], state.servers[state.subscriber][-1]
    if published.is_acknowledged and not subscribed.is_handled:
        return "an acknowledged event is lost"
    if len(published.effects) > 1:
        return "an event that the server has lost has had an effect"
    first, second = state.workers
    if first and first == second and first.phase == "counted":
        return "two workers hold one lease"
    if len(set(state.mails)) > 1:
        return "a mail that the server has lost was sent"
    if state.mails.count(subscribed.mail) > subscribed.tries and subscribed.mail in state.mails:
        return "a mail was sent more often than counted"
    return ""


def is_settled(state: State) -> bool:
    """Return whether the event is acknowledged and everything that follows from it is done, or staff have to decide."""
    if state.subscriber is None:
        return False
    rows = state.servers[state.subscriber][-1]
    is_sent = rows.is_sent or rows.lease == MAX_ATTEMPTS
    is_done = is_sent if state.writes_mail else rows.is_event_acknowledged
    return state.servers[state.publisher][-1].is_acknowledged and is_done and state.relay is None


MODEL = Model("durability", State(), Guards(), steps, violation, is_settled)
