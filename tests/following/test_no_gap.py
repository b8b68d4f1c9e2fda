"""No follower has a gap: each was told what the table says that its key may see, in that order.

By pages, by waiting for them, by streams and as named consumers, beside eight writers; while processes are
killed and the floor rises; and from an answer of the fleet on. Each proof has a short form here, and a long
one that is slow.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.conftest import NewDatabase
from tests.following.followers import WAYS
from tests.following.proof import FILTERS, TERMS, Proof, proving
from tests.following.starts import prove_starts
from tests.following.trouble import Killing, Removing
from tests.support.live_service import LiveService, OwnPostgres

Proving = tuple[Proof, LiveService]
_LONG = [pytest.mark.slow, pytest.mark.timeout(3_600)]


@pytest.fixture(scope="module")
def proving_service(new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proving]:
    """Return the proof, and the service of two workers that it is about."""
    with proving(new_database(), log=tmp_path_factory.mktemp("following") / "log") as found:
        yield found


@pytest.fixture
def proof(proving_service: Proving) -> Iterator[Proof]:
    """Return the proof, and tell what it has met."""
    proof, _ = proving_service
    proof.counted, began = Counter(), time.monotonic()
    yield proof
    print(dict(proof.counted), f"{time.monotonic() - began:.0f} s")


@pytest.fixture
def port(proving_service: Proving) -> Callable[[], int]:
    """Return what tells where the service listens."""
    _, service = proving_service
    assert len(service.workers()) == 2
    return lambda: service.port


@pytest.mark.parametrize(
    ("runs", "seconds", "many"), [(1, 2.5, 8), pytest.param(50, 5, 14, marks=_LONG)], ids=["short", "long"]
)
def test_no_follower_has_a_gap_beside_eight_writers(
    proof: Proof, port: Callable[[], int], runs: int, seconds: float, many: int
) -> None:
    for seed in range(runs):
        proof.run(port, seed=seed, seconds=seconds, many=many)
    # Each run holds all ways, all keys and all filters.
    assert all(proof.counted[f"by {way}"] >= runs for way in WAYS)
    assert all(proof.counted[f"as {name}"] >= runs for name in TERMS)
    assert all(proof.counted[f"of{filtered}"] >= runs for filtered in FILTERS if filtered)
    assert proof.counted["fixes"] > 50 * runs
    assert proof.counted["cut"] > 5 * runs
    if runs > 1:
        assert min(proof.counted[name] for name in ("withdrawals", "late", "released", "rolled back")) > 100


@pytest.mark.parametrize(
    ("runs", "seconds", "many", "slow"),
    [(1, 2.5, 1, 3), pytest.param(20, 6, 8, 4, marks=_LONG)],
    ids=["short", "long"],
)
def test_who_is_too_slow_for_what_is_kept_is_told(
    proof: Proof, port: Callable[[], int], runs: int, seconds: float, many: int, slow: int
) -> None:
    for seed in range(runs):
        trouble = Removing(proof)
        following = proof.run(port, seed=seed, seconds=seconds, many=many, slow=slow, trouble=trouble)
        trouble.check(following)
    assert proof.counted["expired"] >= runs


@pytest.mark.parametrize(
    ("rounds", "seconds", "starts"),
    [(1, 1, 20), pytest.param(25, 4, 40, marks=_LONG)],
    ids=["short", "long"],
)
def test_list_and_what_follows_are_the_table(
    proof: Proof, port: Callable[[], int], rounds: int, seconds: float, starts: int
) -> None:
    for seed in range(rounds):
        prove_starts(proof, port(), seed=seed, seconds=seconds, starts=starts)
    assert proof.counted["starts"] == rounds * starts
    assert proof.counted["asked for a vessel"] > 0


@pytest.mark.slow
@pytest.mark.timeout(3_600)
def test_no_follower_has_a_gap_when_all_is_killed_again_and_again(tmp_path: Path) -> None:
    began = time.monotonic()
    with OwnPostgres() as postgres, proving(postgres.url, log=tmp_path / "log") as (proof, service):
        trouble = Killing(proof, service, postgres)
        for seed in range(10):
            proof.run(lambda: service.port, seed=seed, seconds=15, many=10, trouble=trouble)
    print(dict(proof.counted), f"{time.monotonic() - began:.0f} s")
    assert all(proof.counted[f"killed {victim}"] >= 3 for victim in ("worker", "database", "service", "all"))
    assert all(proof.counted[f"by {way}"] >= 10 for way in WAYS)
