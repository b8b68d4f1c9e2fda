"""The document and the files of its page, as they are sent."""

import gzip
import json
import re
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV30SpecValidator
from tests.support.checked_client import CheckedClient
from tests.support.codings import DECODERS

DOCUMENTS = ["/openapi.json", "/openapi-3.0.json"]


def _files(page: str) -> list[str]:
    return re.findall(r'(?:src|href|data-document)="([^"]+)"', page)


def test_the_page_names_only_files_of_ours_and_no_inline_script(client: CheckedClient):
    page = client.get("/docs")
    assert page.mimetype == "text/html"
    assert "://" not in page.text
    assert re.findall(r"<script(?![^>]*src=)", page.text) == []
    policy = dict(part.strip().split(" ", 1) for part in page.headers["Content-Security-Policy"].split(";"))
    assert (policy["default-src"], policy["script-src"]) == ("'none'", "'self'")
    assert len(_files(page.text)) >= 5
    for file in _files(page.text):
        with client.get(file) as answer:
            assert answer.status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        *(f"/docs/assets/{name}" for name in ("nothing.js", "..%2f__init__.py", "LICENSE", "..")),
        *(f"/docs/static/{name}" for name in ("nothing.js", "../docs.py", "..%2fdocs.py", "")),
    ],
)
def test_an_unknown_file_is_a_problem(client: CheckedClient, path: str):
    answer = client.get(path)
    assert (answer.status_code, answer.json["code"]) == (404, "not_found")


@pytest.mark.parametrize("url", [*DOCUMENTS, "/docs"])
def test_programs_are_told_of_the_document_and_people_of_the_page(client: CheckedClient, url: str):
    links = re.findall(r'<([^>]+)>; rel="([^"]+)"', client.get(url).headers["Link"])
    assert links == [
        ("/openapi.json", "service-desc"),
        ("/openapi-3.0.json", "service-desc"),
        ("/docs", "service-doc"),
    ]


def test_the_older_document_is_valid_and_named_in_the_newer(client: CheckedClient):
    older: Any = client.get("/openapi-3.0.json").json
    assert older["openapi"] == "3.0.3"
    OpenAPIV30SpecValidator(older).validate()
    newer: Any = client.get("/openapi.json").json
    assert older["paths"].keys() == newer["paths"].keys()
    assert all(f"]({url})" in newer["info"]["description"] for url in DOCUMENTS)


class TestWhatIsTheSameForEverybody:
    """Each representation has a strong ETag of its own, and is not sent again to whoever has it."""

    @pytest.fixture(params=[*DOCUMENTS, "/docs", "/docs/static/docs.js", "/docs/assets/swagger-ui-bundle.js"])
    def url(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    def test_is_compressed_for_whoever_takes_it(self, client: CheckedClient, url: str):
        plain = client.get(url)
        assert "Content-Encoding" not in plain.headers
        answers = [plain]
        for coding, read in DECODERS.items():
            packed = client.get(url, headers={"Accept-Encoding": f"{coding};q=1.0, deflate"})
            assert packed.headers["Content-Encoding"] == coding
            assert read(packed.data) == plain.data
            assert len(packed.data) < len(plain.data)
            answers.append(packed)
        for answer in answers:
            assert "Accept-Encoding" in answer.headers["Vary"]
            assert int(answer.headers["Content-Length"]) == len(answer.data)
        assert len({answer.headers["ETag"] for answer in answers}) == len(answers)

    @pytest.mark.parametrize(
        "accepted",
        [None, "", "identity", "deflate", "gzip;q=0", "gzip;q=0.2, identity", "*;q=0, identity", "x" * 900],
    )
    def test_is_plain_for_whoever_does_not(self, client: CheckedClient, url: str, accepted: str | None):
        headers = {} if accepted is None else {"Accept-Encoding": accepted}
        assert "Content-Encoding" not in client.get(url, headers=headers).headers

    def test_has_a_tag_for_each_representation(self, client: CheckedClient, url: str):
        tags = set()
        for accepted in ("identity", "gzip"):
            asked = {"Accept-Encoding": accepted}
            first = client.get(url, headers=asked)
            tag = first.headers["ETag"]
            assert re.fullmatch(r'"[0-9a-f]{24}"', tag)
            assert client.get(url, headers=asked).headers["ETag"] == tag
            tags.add(tag)
            for held in (tag, f'"other", {tag}', f"W/{tag}", "*"):
                again = client.get(url, headers={**asked, "If-None-Match": held})
                assert (again.status_code, again.data) == (304, b""), held
                assert again.headers["ETag"] == tag
                for name in ("Cache-Control", "Vary"):
                    assert again.headers[name] == first.headers[name]
            for held in ('"other"', "W/", ""):
                again = client.get(url, headers={**asked, "If-None-Match": held})
                assert (again.status_code, again.data) == (200, first.data), held
        assert len(tags) == 2

    def test_is_asked_about_each_time(self, client: CheckedClient, url: str):
        for query in ("", "?v=", "?v=of-an-earlier-release"):
            assert client.get(url + query).headers["Cache-Control"] == "public, no-cache"

    def test_tells_its_head_alone(self, client: CheckedClient, url: str):
        whole, head = client.get(url), client.head(url)
        assert head.data == b""
        for name in ("ETag", "Content-Length", "Content-Type", "Cache-Control"):
            assert head.headers[name] == whole.headers[name]


def test_files_that_the_page_names_may_be_kept_for_good(client: CheckedClient):
    kept = [file for file in _files(client.get("/docs").text) if "?v=" in file]
    assert len(kept) == 5
    for file in kept:
        assert client.get(file).headers["Cache-Control"] == "public, max-age=31536000, immutable"


def test_the_document_is_read_in_less_than_a_tenth(client: CheckedClient):
    plain = client.get("/openapi.json")
    packed = client.get("/openapi.json", headers={"Accept-Encoding": "gzip"})
    assert len(packed.data) * 10 < len(plain.data)
    assert json.loads(gzip.decompress(packed.data)) == plain.json
