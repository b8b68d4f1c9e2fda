"""What an answer takes tells nothing about what is known: beside the Top 10."""

import ast
import inspect
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import psycopg
import pytest
from tests.support.checked_client import CheckedClient
from tests.support.factories import SigningTracker, World, a_fix
from tests.support.urls import ME, POSITIONS

from harbor_api.domain import signatures
from harbor_api.repositories import api_keys as key_rows
from harbor_api.services import api_keys


class TestNothingIsToldByTheWorkThatIsDone:
    """Time is never the same twice; statements and HMACs are counted instead."""

    @staticmethod
    @contextmanager
    def _counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
        counted: Counter[str] = Counter()
        execute = psycopg.Cursor.execute
        digest = signatures.hmac.digest

        def count_statement(*arguments: Any, **named: Any) -> Any:
            counted["statements"] += 1
            return execute(*arguments, **named)

        def count_digest(*arguments: Any) -> bytes:
            counted["HMACs"] += 1
            made: bytes = digest(*arguments)
            return made

        with monkeypatch.context() as patch:
            patch.setattr(psycopg.Cursor, "execute", count_statement)
            patch.setattr(signatures.hmac, "digest", count_digest)
            yield counted

    def _work(self, monkeypatch: pytest.MonkeyPatch, ask: Callable[[], Any]) -> Counter[str]:
        with self._counted(monkeypatch) as counted:
            assert ask().status_code == 401
        return counted

    def test_an_unknown_tracker_costs_what_a_wrong_signature_costs(
        self, client: CheckedClient, world: World, monkeypatch
    ):
        met, known = world.tracker(), world.tracker()
        # The application remembers this one.
        assert client.post(POSITIONS, **met.signed(a_fix())).status_code == 201
        forged = [
            SigningTracker(each.tracker, signatures.derive_secret(bytes(32), each.tracker.id, 1))
            for each in (met, known)
        ]
        unknown = forged[0].signed(a_fix(), id="trk_9999-1")
        wrong = forged[0].signed(a_fix())

        work = [
            self._work(monkeypatch, partial(client.post, POSITIONS, **signed))
            for signed in (unknown, wrong, forged[1].signed(a_fix()))
        ]

        assert work[0] == work[1] == work[2]
        assert work[0]["statements"] == 1
        # Only whoever signs rightly is spared what is remembered.
        right = met.signed(a_fix(1))
        with self._counted(monkeypatch) as counted:
            assert client.post(POSITIONS, **right).status_code == 201
        assert counted["HMACs"] < work[0]["HMACs"]
        answers = [json.loads(client.post(POSITIONS, **signed).text) for signed in (unknown, wrong)]
        assert answers[0] | {"request_id": ""} == answers[1] | {"request_id": ""}

    def test_a_disabled_tracker_is_told_only_to_whom_has_its_secret(
        self, client: CheckedClient, world: World
    ):
        disabled = world.disabled_tracker()
        forged = SigningTracker(disabled.tracker, signatures.derive_secret(bytes(32), "trk_0001", 1))
        assert client.post(POSITIONS, **disabled.signed(a_fix())).status_code == 403
        assert client.post(POSITIONS, **forged.signed(a_fix())).json["code"] == "signature_invalid"

    def test_an_unknown_key_costs_what_a_revoked_one_costs(
        self, client: CheckedClient, world: World, monkeypatch
    ):
        revoked, secret = world.key()
        world.revoke(revoked)
        work = [
            self._work(
                monkeypatch,
                partial(client.get, ME, headers={"Authorization": f"Bearer {key}"}),
            )
            for key in (api_keys.generate(), secret)
        ]
        assert work[0] == work[1] == {"statements": 1}

    def test_signatures_are_compared_in_constant_time(self):
        source = inspect.getsource(signatures.verify)
        assert "hmac.compare_digest(" in source
        compared = [
            ast.unparse(node)
            for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.Compare) and "expected" in ast.unparse(node)
        ]
        assert compared == []

    def test_keys_are_looked_up_by_their_hash_only(self):
        _, where = key_rows._PRESENTED.decode().split("WHERE")
        assert set(re.findall(r"(\w+) = ", where)) == {"sha256", "previous_sha256"}
