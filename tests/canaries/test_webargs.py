"""webargs: what its parser asks of ours, and how it hands over what is wrong."""

import functools

import marshmallow
import pytest
from flask import Flask, request
from tests.canaries.relied_on import relied_on
from webargs.flaskparser import FlaskParser

relied = functools.partial(relied_on, "webargs")


class Told(Exception):
    pass


class Parser(FlaskParser):
    DEFAULT_UNKNOWN_BY_LOCATION = {
        **FlaskParser.DEFAULT_UNKNOWN_BY_LOCATION,
        "query": marshmallow.RAISE,
        "json": marshmallow.RAISE,
    }

    def load_json(self, req, schema):
        return {"location": "json", "schema": id(schema)}

    def load_querystring(self, req, schema):
        return {"location": "query", "schema": id(schema)}

    def handle_error(self, error, req, schema, **_):
        raise Told(error.normalized_messages())


class Found(marshmallow.Schema):
    location = marshmallow.fields.String()
    schema = marshmallow.fields.Integer()


@relied(
    "bodies come from load_json and queries from load_querystring, with the request and the schema itself",
    by="web/arguments.py overrides both; web/blueprint.py hands over instances, so that none is made anew",
)
@pytest.mark.parametrize("location", ["json", "query"])
def test_loaders_are_asked_with_the_schema_that_was_given(location: str):
    schema = Found()
    with Flask(__name__).test_request_context():
        assert Parser().parse(schema, request, location=location) == {
            "location": location,
            "schema": id(schema),
        }


@relied(
    "DEFAULT_UNKNOWN_BY_LOCATION goes before the schema, and handle_error gets messages under the location",
    by="web/arguments.py refuses unknown members by the one, and renders faults in the other",
)
@pytest.mark.parametrize("location", ["json", "query"])
def test_unknown_members_are_told_under_the_location(location: str):
    class Nothing(marshmallow.Schema):
        class Meta:
            unknown = marshmallow.EXCLUDE

    unknown = {"location": ["Unknown field."], "schema": ["Unknown field."]}
    with Flask(__name__).test_request_context(), pytest.raises(Told) as told:
        Parser().parse(Nothing(), request, location=location)
    assert told.value.args == ({location: unknown},)


@relied("an error that a loader raises goes through", by="web/arguments.py raises our errors in its loaders")
def test_other_errors_of_a_loader_go_through():
    class Refusing(Parser):
        def load_json(self, req, schema):
            raise Told

    with Flask(__name__).test_request_context(), pytest.raises(Told):
        Refusing().parse(Found(), request, location="json")
