"""Standard Webhooks signatures: whatever is changed, the signature no longer fits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harbor_api.domain import signatures

MASTER = bytes(range(32))
ids = st.from_regex(r"trk_[0-9]{4}-[A-Za-z0-9_-]{1,64}", fullmatch=True)
times = st.integers(0, 2**40)


def test_the_contracts_own_vector():
    secret = signatures.derive_secret(MASTER, "trk_0001", 1)
    assert secret == "whsec_yynsKqKylylnXnYx5PWDFxlcKhhqqSi2VHVZajb40n4="
    body = b'{"at":"2026-01-02T03:04:05Z","lat":59.9,"lon":10.7}'
    assert (
        signatures.sign(secret, "trk_0001-1-42", 1767323045, body)
        == "v1,V2EK6f2+AANHoO2RU4CoqhLxAItRUIUoJqkTjEFKOfc="
    )


@given(ids, times, st.binary(max_size=200))
def test_what_was_signed_is_verified_among_others(id, time, body):
    secret = signatures.derive_secret(MASTER, "trk_0001", 1)
    header = signatures.sign(secret, id, time, body)
    assert signatures.verify(secret, id, str(time), body, header)
    assert signatures.verify(secret, id, str(time), body, f"v1,AAAA v2,x {header}")
    assert not signatures.verify(secret, id, str(time), body, " ".join(["v1,AAAA"] * 4 + [header]))


@given(ids, times, st.binary(max_size=200), st.data())
def test_any_change_is_noticed(id, time, body, data):
    secret = signatures.derive_secret(MASTER, "trk_0001", 1)
    header = signatures.sign(secret, id, time, body)
    other_id, other_time, other_body = data.draw(
        st.tuples(ids, times, st.binary(max_size=200)).filter(lambda other: other != (id, time, body))
    )
    assert not signatures.verify(secret, other_id, str(other_time), other_body, header)
    other_secret = signatures.derive_secret(MASTER, "trk_0001", data.draw(st.integers(2, 99)))
    assert not signatures.verify(other_secret, id, str(time), body, header)


@given(st.text())
def test_no_header_breaks_it(header):
    secret = signatures.derive_secret(MASTER, "trk_0001", 1)
    assert not signatures.verify(secret, "trk_0001-1", "1", b"", header)


def test_a_secret_that_is_not_base64_is_a_value_error():
    with pytest.raises(ValueError, match="whsec_"):
        signatures.secret_key("whsec_???")


def test_secrets_are_remembered_as_they_are_derived_and_no_more_than_a_bound_of_them():
    secrets = signatures.Secrets(MASTER, most=3)
    for number in range(1, 11):
        derived = signatures.derive_secret(MASTER, f"trk_{number:04}", number)
        assert secrets.of(f"trk_{number:04}", number) == derived
        # Anything else, so that what is remembered is told from what is derived.
        secrets.remember(f"trk_{number:04}", number, f"remembered {number}")
        assert secrets.of(f"trk_{number:04}", number) == f"remembered {number}"
        # Another generation is another secret.
        other = signatures.derive_secret(MASTER, f"trk_{number:04}", number + 1)
        assert secrets.of(f"trk_{number:04}", number + 1) == other
    kept = [number for number in range(1, 11) if secrets.of(f"trk_{number:04}", number).startswith("rem")]
    assert kept == [10]
    # What is there already makes no room for itself.
    for number in (11, 12, 12):
        secrets.remember(f"trk_{number:04}", number, "remembered")
    assert [secrets.of(f"trk_{number:04}", number)[:3] for number in (10, 11, 12)] == ["rem"] * 3
    assert MASTER.hex() not in repr(secrets)
    assert derived not in repr(secrets)
