"""Honest clients beside all odd neighbours at once: none of them fails, and whoever stalls is cut.

The short form of ``python -m tests.neighbours``, of counts and outcomes: latencies are for that one. The
limits are those of the service as it is shipped, so that it takes as long as the longest of them.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from tests.neighbours import honest
from tests.neighbours.beside import Part, Watch, errors_in, wait_until_well
from tests.neighbours.scene import PAST, Outcome, Scene
from tests.neighbours.troubles import LARGEST_BATCH, TROUBLES
from tests.neighbours.world import World

_HEAD_S, _BODY_S, _ANSWER_S = 10, 30, 30
# What stalls, after how many seconds it is cut at the latest, and how many sockets do so.
_STALLED = {
    "readers-slow": (_ANSWER_S, 2),
    "readers-never": (_ANSWER_S, 40),
    "heads-stalled": (_HEAD_S, 40),
    "bodies-unsigned": (_BODY_S, 40),
    "bodies-signed": (_BODY_S, 40),
    "bodies-chunked": (_BODY_S, 40),
    "bodies-unsigned-large": (_BODY_S, 100),
    "bodies-signed-large": (_BODY_S, 100),
}
# How much later than its limit a socket may be cut on a busy machine.
_LATE_S = 2
_STALLED_FOR_S = max(limit_s for limit_s, _ in _STALLED.values()) + _LATE_S + 1
# All others come for a moment each, one after the other, and from one address that is not that of the honest:
# those that make a crowd are more than it may have, so that room is made there for each new one.
# Of the kinds of full batches two will do.
_ALIKE = {"batches-of-two-forms", "batches-zipped"}
_OTHERS = tuple(name for name in TROUBLES if name not in _STALLED.keys() | _ALIKE)
_MOMENT_S, _CROWD = 1, 300
_STATUSES = {"repeats": {"200"}, "jumps": {"200"}, "wild": {"200"}, "batches": {"200"}, "bad": {"401", "429"}}
_VERDICTS = {
    "repeats": {"duplicate", "stored"},
    "jumps": {"quarantined"},
    "wild": {"stored"},
    "batches": {"stored"},
}
_PATIENCE_S, _COMES_BACK_A_SECOND = 30, 10
# Of unfinished requests 16 MiB are kept, of unread answers 64; and there is all else.
_MOST_MORE_MIB = 200


def test_honest_clients_are_served_beside_odd_neighbours(new_database: Callable[[], str]):
    with World(positions=LARGEST_BATCH * len(PAST), url=new_database()) as world:
        scene = world.scene(patience_s=_PATIENCE_S, comes_back_a_second=_COMES_BACK_A_SECOND)
        worker = world.worker()
        with Part("honest", scene) as clients, Watch(worker) as watch:
            clients.wait()
            with _stalling(scene) as stalled:
                others = _others(world, scene)
                cut = {name: _told(part) for name, part in stalled.items()}
            clients.go_on()
            samples = clients.seen(honest.LAST_ANSWERS * _PATIENCE_S)
            watch.stop()

        for client, seen in samples.items():
            assert {honest.Sample(*each).outcome for each in seen} == {honest.OK}, client
        for name, outcome in cut.items():
            assert outcome.cut, f"{name}: {outcome}"
            assert outcome.oldest_s <= _STALLED[name][0] + _LATE_S, f"{name}: {outcome}"
        for name, outcome in others.items():
            kind = name.partition("-")[0]
            assert set(outcome.statuses) <= _STATUSES.get(kind, {"200", "422"}), f"{name}: {outcome}"
            assert set(outcome.verdicts) <= _VERDICTS.get(kind, {"invalid"}), f"{name}: {outcome}"
            assert outcome.statuses or name == "heads-never-begun"
        memory = [mib for mib, _ in watch.seen]
        assert max(memory) - memory[0] < _MOST_MORE_MIB
        assert wait_until_well(world, scene, open_before=int(watch.seen[0][1])) is not None
        assert worker.is_running()
        assert not errors_in(world.service.log())


@contextmanager
def _stalling(scene: Scene) -> Iterator[dict[str, Part]]:
    """Let all that stalls begin."""
    with ExitStack() as stack:
        parts = {
            name: stack.enter_context(
                Part("troubles", replace(scene, seconds=_STALLED_FOR_S, sockets=sockets), troubles=[name])
            )
            for name, (_, sockets) in _STALLED.items()
        }
        for part in parts.values():
            part.wait()
        for part in parts.values():
            part.go_on()
        yield parts


def _others(world: World, scene: Scene) -> dict[str, Outcome]:
    """Return what the others got, each for a moment."""
    got = {}
    brief = replace(scene, seconds=_MOMENT_S, sockets=_CROWD, addresses=1, first_address=2)
    with Part("troubles", brief, troubles=_OTHERS) as part:
        for name in _OTHERS:
            world.execute(TROUBLES[name].past(scene))
            part.wait()
            part.go_on()
            got[name] = _told(part)
    return got


def _told(part: Part) -> Outcome:
    return Outcome(**part.seen(_STALLED_FOR_S + 2 * _PATIENCE_S))
