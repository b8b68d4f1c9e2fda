"""Changes of bodies and parameters that are sent: those that break, and those that do not."""

from tests.contract.breaking_changes.changed_documents import (
    FLEET,
    ONE,
    POST,
    Change,
    member_in,
    operation_in,
    parameter_in,
    remove_a_member,
    schema_in,
)

BREAKS: dict[str, tuple[Change, str, str]] = {
    # What is sent.
    "a member is to be sent": (
        lambda d: schema_in(d, "Fix")["required"].append("sog"),
        POST,
        "request `Fix.sog` is now required",
    ),
    "a new member is to be sent": (
        lambda d: (
            schema_in(d, "Fix")["properties"].update(seal={"type": "string"})
            or schema_in(d, "Fix")["required"].append("seal")
        ),
        POST,
        "request `Fix.seal` is new and required",
    ),
    "a member is no longer taken": (
        lambda d: remove_a_member(d, "Fix.sog"),
        POST,
        "request `Fix.sog` is removed",
    ),
    "null is no longer taken": (
        lambda d: member_in(d, "Fix.sog").update(type="number"),
        POST,
        "request `Fix.sog` may no longer be null",
    ),
    "null is no longer taken by one of several limits": (
        lambda d: schema_in(d, "Fix")["properties"].update(
            sog={"allOf": [{"type": "number"}, member_in(d, "Fix.sog")]}
        ),
        POST,
        "request `Fix.sog` may no longer be null",
    ),
    "an alternative is no longer taken": (
        lambda d: member_in(d, "Fix.port")["oneOf"].pop(),
        POST,
        'request `Fix.port` may no longer be {"type": "integer", "const": 7}',
    ),
    "a type is no longer taken": (
        lambda d: member_in(d, "Fix.lat").update(type="integer"),
        POST,
        'request `Fix.lat` type: "number" became "integer"',
    ),
    "less is taken": (
        lambda d: member_in(d, "Fix.lat").update(maximum=80),
        POST,
        "request `Fix.lat` maximum: 90.0 became 80",
    ),
    "more is asked for": (
        lambda d: member_in(d, "Fix.lat").update(minimum=-80),
        POST,
        "request `Fix.lat` minimum: -90.0 became -80",
    ),
    "a limit is new": (
        lambda d: member_in(d, "Fix.notes").update(uniqueItems=True),
        POST,
        "request `Fix.notes` uniqueItems: nothing became true",
    ),
    "items are limited": (
        lambda d: member_in(d, "Fix.notes")["items"].update(minLength=3),
        POST,
        "request `Fix.notes[]` minLength: 2 became 3",
    ),
    "a value is no longer taken": (
        lambda d: member_in(d, "Fix.mode")["enum"].remove("b"),
        POST,
        'request `Fix.mode` may no longer be "b"',
    ),
    "only some values are taken": (
        lambda d: member_in(d, "Fix.nav_status").update(enum=[0, 1, None]),
        POST,
        "request `Fix.nav_status` enum: nothing became [0, 1]",
    ),
    "something else limits what is taken": (
        lambda d: member_in(d, "Fix.accuracy_m").update(multipleOf=0.5),
        POST,
        "request `Fix.accuracy_m` multipleOf: nothing became 0.5",
    ),
    "further members are no longer taken": (
        lambda d: member_in(d, "Fix.extras").update(additionalProperties=False),
        POST,
        "request `Fix.extras` may no longer have further members",
    ),
    "further members are limited": (
        lambda d: member_in(d, "Fix.extras").update(additionalProperties={"type": "string"}),
        POST,
        'request `Fix.extras.*` type: nothing became "string"',
    ),
    "a media type is no longer taken": (
        lambda d: operation_in(d, POST)["requestBody"]["content"].pop("application/cbor"),
        POST,
        "request media type `application/cbor` is removed",
    ),
    "a body is no longer taken": (
        lambda d: operation_in(d, POST).pop("requestBody"),
        POST,
        "the request body is removed",
    ),
    "a body is to be sent": (
        lambda d: operation_in(d, ONE).update(requestBody=operation_in(d, POST)["requestBody"]),
        ONE,
        "the request body is now required",
    ),
    # Parameters.
    "a new parameter is to be sent": (
        lambda d: operation_in(d, FLEET)["parameters"].append(
            {"in": "query", "name": "region", "required": True, "schema": {"type": "string"}}
        ),
        FLEET,
        "query parameter `region` is new and required",
    ),
    "a parameter is to be sent": (
        lambda d: parameter_in(d, 0).update(required=True),
        FLEET,
        "query parameter `sample` is now required",
    ),
    "a parameter is removed": (
        lambda d: operation_in(d, FLEET)["parameters"].pop(0),
        FLEET,
        "query parameter `sample` is removed",
    ),
    "a parameter takes less": (
        lambda d: parameter_in(d, 0)["schema"].update(maximum=8),
        FLEET,
        "query parameter `sample` maximum: 9 became 8",
    ),
    "a parameter takes fewer values": (
        lambda d: parameter_in(d, 1)["schema"]["enum"].remove("blue"),
        FLEET,
        'header parameter `X-Colour` may no longer be "blue"',
    ),
    "a parameter that is not sent means something else": (
        lambda d: parameter_in(d, 0)["schema"].update(default=6),
        FLEET,
        "query parameter `sample` default: 5 became 6",
    ),
    "a parameter is written otherwise": (
        lambda d: parameter_in(d, 0).update(style="spaceDelimited"),
        FLEET,
        "query parameter `sample` is written in another way",
    ),
}


HARMLESS: dict[str, Change] = {
    # What is sent.
    "an optional member is new": lambda d: schema_in(d, "Fix")["properties"].update(seal={"type": "string"}),
    "a member is optional": lambda d: schema_in(d, "Fix")["required"].remove("lat"),
    "null is taken": lambda d: member_in(d, "Fix.lat").update(type=["number", "null"]),
    "more is taken": lambda d: member_in(d, "Fix.lat").update(maximum=91),
    "more of everything is taken": lambda d: (
        member_in(d, "Fix.notes").update(
            minItems=1, maxItems=6, items={"type": "string", "minLength": 1, "maxLength": 6}
        )
        or member_in(d, "Fix.extras").update(minProperties=1, maxProperties=6)
        or member_in(d, "Fix.rate").update(exclusiveMinimum=1, exclusiveMaximum=6)
    ),
    "the only value is a constant": lambda d: schema_in(d, "Fix")["properties"].update(sort={"const": "fix"}),
    "a type of values is told": lambda d: member_in(d, "Fix.mode").update(type=["string", "null"]),
    "a limit goes": lambda d: member_in(d, "Fix.lat").pop("maximum"),
    "a wider type is taken": lambda d: member_in(d, "Fix.nav_status").update(type=["number", "null"]),
    "another value is taken": lambda d: member_in(d, "Fix.mode")["enum"].append("c"),
    "another alternative is taken": lambda d: member_in(d, "Fix.port")["oneOf"].append({"type": "boolean"}),
    "a value is taken as one within limits": lambda d: member_in(d, "Fix.port")["oneOf"].__setitem__(
        1, {"type": "integer", "minimum": 7, "maximum": 7}
    ),
    "further members are taken": lambda d: schema_in(d, "Fix").update(additionalProperties=True),
    "another media type is taken": lambda d: operation_in(d, POST)["requestBody"]["content"].update(
        {"text/csv": {}}
    ),
    "an optional body is new": lambda d: operation_in(d, ONE).update(requestBody={"content": {}}),
    "a body is optional": lambda d: operation_in(d, POST)["requestBody"].update(required=False),
    # Parameters.
    "an optional parameter is new": lambda d: operation_in(d, FLEET)["parameters"].append(
        {"in": "query", "name": "region", "schema": {"type": "string"}}
    ),
    "a parameter takes more": lambda d: parameter_in(d, 0)["schema"].update(maximum=10),
    "a header parameter is spelled otherwise": lambda d: parameter_in(d, 1).update(name="x-colour"),
}
