"""Changes of what is answered: those that break, and those that do not."""

from tests.contract.breaking_changes.changed_documents import (
    FLEET,
    ONE,
    POST,
    Change,
    member_in,
    operation_in,
    remove_a_member,
    response_in,
    schema_in,
)

BREAKS: dict[str, tuple[Change, str, str]] = {
    "a status is removed": (
        lambda d: operation_in(d, ONE)["responses"].pop("404"),
        ONE,
        "response 404 is removed",
    ),
    "a good status is new": (
        lambda d: operation_in(d, ONE)["responses"].update({"203": response_in(d, ONE, 200)}),
        ONE,
        "response 203 is new",
    ),
    "an answer gets another media type": (
        lambda d: response_in(d, ONE, 200).update(
            content={"application/json": response_in(d, ONE, 200)["content"].popitem()[1]}
        ),
        ONE,
        "response 200 media type `application/geo+json` is removed",
    ),
    "a schema is inlined": (
        lambda d: operation_in(d, POST)["requestBody"]["content"]["application/json"].update(
            schema=schema_in(d, "Fix")
        ),
        POST,
        "the schema `Fix` is inlined",
    ),
    "a header is removed": (
        lambda d: response_in(d, ONE, 429)["headers"].pop("Retry-After"),
        ONE,
        "response 429 header `Retry-After` is removed",
    ),
    "a header is no longer always there": (
        lambda d: d["components"]["headers"]["WWW-Authenticate"].update(required=False),
        FLEET,
        "response 401 header `WWW-Authenticate` is no longer required",
    ),
    "a header is written otherwise": (
        lambda d: d["components"]["headers"]["Retry-After"]["schema"].pop("pattern"),
        FLEET,
        'response header `Retry-After` pattern: "^[0-9]+$" became nothing',
    ),
    "a code is renamed": (
        lambda d: response_in(d, ONE, 404).update(description="`missing`"),
        ONE,
        "response 404 has no code `not_found` any more",
    ),
    "a member of an answer is removed": (
        lambda d: remove_a_member(d, "VesselProperties.imo"),
        ONE,
        "response `VesselProperties.imo` is removed",
    ),
    "an optional member of an answer is removed": (
        lambda d: remove_a_member(d, "Verdict.differs"),
        POST,
        "response `Verdict.differs` is removed",
    ),
    "a member of an answer is no longer required": (
        lambda d: schema_in(d, "VesselProperties")["required"].remove("imo"),
        FLEET,
        "response `VesselProperties.imo` is no longer required",
    ),
    "a member of an answer may be null": (
        lambda d: member_in(d, "VesselProperties.name").update(type=["string", "null"]),
        FLEET,
        "response `VesselProperties.name` may now be null",
    ),
    "a member of an answer may be null by an alternative": (
        lambda d: schema_in(d, "VesselFeature")["properties"].update(
            properties={"anyOf": [member_in(d, "VesselFeature.properties"), {"type": "null"}]}
        ),
        ONE,
        "response `VesselFeature.properties` may now be null",
    ),
    "a type of an answer is widened": (
        lambda d: member_in(d, "VesselFeature.id").update(type="number"),
        ONE,
        'response `VesselFeature.id` type: "integer" became "number"',
    ),
    "a type of an answer is another one": (
        lambda d: member_in(d, "VesselFeature.id").update(type="string"),
        ONE,
        'response `VesselFeature.id` type: "integer" became "string"',
    ),
    "a nullable type of an answer is widened": (
        lambda d: member_in(d, "VesselProperties.imo").update(type=["string", "integer", "null"]),
        ONE,
        'response `VesselProperties.imo` type: "string" became ["string", "integer"]',
    ),
    "a type of an answer is forgotten": (
        lambda d: member_in(d, "Verdict.latest").pop("type"),
        POST,
        'response `Verdict.latest` type: "boolean" became nothing',
    ),
    "an answer has another value": (
        lambda d: member_in(d, "Verdict.verdict")["enum"].append("ignored"),
        POST,
        'response `Verdict.verdict` may now be "ignored"',
    ),
    "an answer has any value": (
        lambda d: member_in(d, "Health.status").pop("enum"),
        "getLiveness",
        'response `Health.status` enum: ["ok"] became nothing',
    ),
    "an answer has another alternative": (
        lambda d: member_in(d, "VesselFeature.geometry")["anyOf"].append({"type": "string"}),
        ONE,
        'response `VesselFeature.geometry` may now be {"type": "string"}',
    ),
    "an alternative of an answer is another one": (
        lambda d: member_in(d, "VesselProperties.follows")["anyOf"][1].update(maxLength=6),
        ONE,
        "response `VesselProperties.follows` maxLength: 5 became 6",
    ),
    "null is a value of an answer": (
        lambda d: member_in(d, "VesselProperties.grade")["enum"].append(None),
        ONE,
        "response `VesselProperties.grade` may now be null",
    ),
    "an answer has another pattern": (
        lambda d: member_in(d, "VesselProperties.mmsi").update(pattern="^[0-9]{9,12}$"),
        ONE,
        'response `VesselProperties.mmsi` pattern: "^[0-9]{9}$" became "^[0-9]{9,12}$"',
    ),
    "an answer has another format": (
        lambda d: member_in(d, "VesselProperties.recorded_at").pop("format"),
        ONE,
        'response `VesselProperties.recorded_at` format: "date-time" became nothing',
    ),
    "an answer has a wider limit": (
        lambda d: member_in(d, "VesselProperties.nav_status").update(maximum=15),
        ONE,
        "response `VesselProperties.nav_status` maximum: 14 became 15",
    ),
    "an answer has longer lists": (
        lambda d: member_in(d, "Point.coordinates").update(maxItems=3),
        ONE,
        "response `Point.coordinates` maxItems: 2 became 3",
    ),
    "an answer has lists of something else": (
        lambda d: member_in(d, "Point.coordinates").update(items={"type": ["number", "null"]}),
        ONE,
        "response `Point.coordinates[]` may now be null",
    ),
    "an answer has maps of something else": (
        lambda d: member_in(d, "Convoy.speeds").update(additionalProperties={"type": "string"}),
        ONE,
        'response `Convoy.speeds.*` type: "number" became "string"',
    ),
    "an answer has no maps any more": (
        lambda d: member_in(d, "Convoy.speeds").update(additionalProperties=False),
        ONE,
        "response `Convoy.speeds` may no longer have further members",
    ),
    "an answer that holds itself is changed": (
        lambda d: member_in(d, "Convoy.leader").pop("maxLength"),
        ONE,
        "response `Convoy.leader` maxLength: 20 became nothing",
    ),
    "a limit of an answer goes that the check does not know": (
        lambda d: member_in(d, "Convoy.speeds").pop("propertyNames"),
        ONE,
        'response `Convoy.speeds` propertyNames: {"pattern": "^[a-z]+$"} became nothing',
    ),
}


HARMLESS: dict[str, Change] = {
    "a member of an answer is new": lambda d: schema_in(d, "VesselProperties")["properties"].update(
        colour={"type": "string"}
    ),
    "a required member of an answer is new": lambda d: (
        schema_in(d, "VesselProperties")["properties"].update(colour={"type": "string"})
        or schema_in(d, "VesselProperties")["required"].append("colour")
    ),
    "an answer may have further members": lambda d: schema_in(d, "Verdict").update(additionalProperties=True),
    "a member of an answer is now always there": lambda d: schema_in(d, "Verdict")["required"].append(
        "differs"
    ),
    "a member of an answer is never null any more": lambda d: member_in(d, "VesselProperties.imo").update(
        type="string"
    ),
    "a member of an answer is never null any more by an alternative": lambda d: schema_in(d, "VesselFeature")[
        "properties"
    ].update(geometry={"$ref": "#/components/schemas/Point"}),
    "null is written otherwise": lambda d: schema_in(d, "VesselProperties")["properties"].update(
        mmsi={"oneOf": [{"type": "string", "pattern": "^[0-9]{9}$"}, {"type": "null"}]}
    ),
    "a member is put together": lambda d: schema_in(d, "VesselFeature")["properties"].update(
        properties={"allOf": [member_in(d, "VesselFeature.properties")], "description": "Other words."}
    ),
    "a schema is put together": lambda d: d["components"]["schemas"].update(
        Convoy={
            "allOf": [
                {
                    "type": "object",
                    "properties": schema_in(d, "Convoy")["properties"],
                    "required": ["leader"],
                },
                {"type": "object", "properties": {"colour": {"type": "string"}}, "required": ["colour"]},
            ]
        }
    ),
    "an alternative gets a name": lambda d: (
        d["components"]["schemas"].update(Callsign={"type": "string", "maxLength": 5})
        or member_in(d, "VesselProperties.follows")["anyOf"].__setitem__(
            1, {"$ref": "#/components/schemas/Callsign"}
        )
    ),
    "an answer has fewer values": lambda d: member_in(d, "Verdict.verdict")["enum"].remove("quarantined"),
    "an enumeration of one is a constant": lambda d: schema_in(d, "Health")["properties"].update(
        status={"const": "ok"}
    ),
    "an answer has narrower limits": lambda d: member_in(d, "VesselFeature.id").update(
        maximum=1000, minimum=2
    ),
    "an answer has limits": lambda d: member_in(d, "VesselProperties.length_m").update(minimum=0),
    "an error is new": lambda d: operation_in(d, ONE)["responses"].update({"409": response_in(d, ONE, 404)}),
    "an answer to a condition is new": lambda d: operation_in(d, ONE)["responses"].update(
        {"304": {"description": "Not modified."}}
    ),
    "a code is new": lambda d: response_in(d, ONE, 404).update(description="`gone`, `not_found`"),
    "a header is new": lambda d: response_in(d, ONE, 200)["headers"].update(ETag={"schema": {}}),
    "a header is inlined": lambda d: response_in(d, ONE, 429)["headers"].update(
        {"Retry-After": d["components"]["headers"]["Retry-After"]}
    ),
    "a media type of an answer is new": lambda d: response_in(d, ONE, 200)["content"].update(
        {"application/json": {}}
    ),
}
