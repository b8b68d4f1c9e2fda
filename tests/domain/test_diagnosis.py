"""What is said of signature headers, as far as their form tells."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harbor_api.domain import diagnosis

PLAIN = "No signature fits the headers and the body as they arrived"
DIGEST = bytes(range(200, 232))
RIGHT = base64.b64encode(DIGEST).decode()


@pytest.mark.parametrize(
    ("sent", "hint"),
    [
        (f"v1,{RIGHT},v1,{RIGHT}", "separated by one space"),
        (f"sha256={DIGEST.hex()}", "not with sha256="),
        (f"v1,{DIGEST.hex()}", "hexadecimal"),
        (DIGEST.hex(), "hexadecimal"),
        (f"v1={RIGHT}", "a comma separates"),
        (f"V1,{RIGHT}", "in lower case"),
        (RIGHT, "begins with v1 and a comma"),
        (f"v1,{base64.urlsafe_b64encode(DIGEST).decode()}", "kind for URLs"),
        (f"v1,{RIGHT.rstrip('=')}", "lacks its ="),
        (f"v1,{RIGHT[:-4]}", "cut off"),
        ("v1,", "cut off"),
        (f"v1,{RIGHT}{RIGHT}", "too long"),
        ("v1,!!not*base64!!", "must be base64"),
        (f"v1a,{RIGHT}", "only version v1"),
        ("whsec_" + RIGHT, "this is a secret"),
        (" ".join([f"v1,{RIGHT}"] * 5), "at most 4 signatures"),
        ("nonsense", "is v1, a comma and the base64 of 32 bytes"),
    ],
)
def test_the_form_of_a_signature_tells_the_mistake(sent, hint):
    said = diagnosis.of_signature(sent)
    assert hint in said
    assert RIGHT[:12] not in said


def test_a_signature_of_the_right_form_is_told_nothing_more():
    assert diagnosis.of_signature(f"v1,{RIGHT}") == PLAIN
    assert diagnosis.of_signature(f"v1,cut v1,{RIGHT}") == PLAIN


@pytest.mark.parametrize(
    ("sent", "hint"),
    [
        ("", "there is none"),
        ("trk_0001", "the tracker's id alone"),
        ("trk_0001-", "the tracker's id alone"),
        ("msg_2KWPBgLlAfxdpx2AI54pPJ85f4W", "does not begin with a tracker's id"),
        ("trk_0001-1.42", "webhook-id must be"),
    ],
)
def test_the_form_of_an_id_tells_the_mistake(sent, hint):
    assert hint in diagnosis.of_message_id(sent)


@pytest.mark.parametrize(
    ("sent", "hint"),
    [
        ("1767323045000", "in milliseconds"),
        ("1767323045.5", "without a fraction"),
        ("2026-01-02T03:04:05Z", "this is a date"),
        ("", "the unix time"),
        ("now", "the unix time"),
    ],
)
def test_the_form_of_a_timestamp_tells_the_mistake(sent, hint):
    assert hint in diagnosis.of_timestamp(sent)


@given(st.text(max_size=200))
def test_any_text_is_answered(text):
    assert diagnosis.of_signature(text).startswith(("No signature fits", "webhook-signature"))
    assert diagnosis.of_message_id(text)
    assert diagnosis.of_timestamp(text)
