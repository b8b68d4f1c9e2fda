"""Loaders that are generated from a schema: what ``schema.load`` returns for ordinary input, in less time.

The schema stays the only source of every rule. What is done to numbers is written out; all else that
marshmallow calls, its hooks and other validators included, is called. Of a schema with a ``post_load``
and the members

    recorded_at = Timestamp(required=True)
    lat = Number(required=True, validate=Range(-90, 90))
    heading = Number(allow_none=True, validate=_heading)

this is the source:

    def load(data):
        try:
            if type(data) is not dict:
                return None
            taken = {}
            value = data['recorded_at']
            value = deserialize_recorded_at(value, 'recorded_at', data)
            taken['recorded_at'] = value
            value = data['lat']
            if type(value) is not float:
                if type(value) is not int:
                    return None
                value = float(value)
            if not -90 <= value <= 90:
                return None
            taken['lat'] = value
            if 'heading' in data:
                value = data['heading']
                if value is not None:
                    if type(value) is not float:
                        if type(value) is not int:
                            return None
                        value = float(value)
                    validate_heading_0(value)
                taken['heading'] = value
            if len(taken) != len(data):
                return None
            taken = post_load_0(taken)
            return taken
        except Exception:
            return None

It renders no error: where there is the least doubt it returns None, and its caller asks ``schema.load``,
which refuses with every message, or takes after all what is only unusual.
"""

from collections.abc import Callable
from inspect import signature
from math import isfinite
from textwrap import indent
from typing import Any

from marshmallow import RAISE, Schema, missing
from marshmallow.decorators import POST_LOAD, PRE_LOAD, VALIDATES, VALIDATES_SCHEMA
from marshmallow.fields import Field
from marshmallow.types import Validator
from marshmallow.validate import Range

from harbor_api.schemas.fields import Number, Timestamp, Whole

# What each kind of field makes of a value, with its exact type: a subclass may have rules of its own.
_CONVERSIONS: dict[type, str] = {
    Number: """\
if type(value) is not float:
    if type(value) is not int:
        return None
    value = float(value)
""",
    Whole: """\
if type(value) is not int:
    if type(value) is not float or int(value) != value:
        return None
    value = int(value)
""",
    # datetime.fromisoformat alone takes more than RFC 3339 has, NUL included: the field itself is asked.
    Timestamp: "value = deserialize_{name}(value, {name!r}, data)\n",
}
_STEP = "    "


def compile_loader(schema: Schema) -> Callable[[Any], Any]:
    """Return a function from a JSON value to what ``schema.load`` makes of it, None where in doubt.

    TypeError for a schema with anything in it that the function would leave out.
    """
    source, names = _generate(schema)
    exec(source, names)  # noqa: S102 - made of the schema's own names and bounds, never of input
    load: Callable[[Any], Any] = names["load"]
    return load


def _generate(schema: Schema) -> tuple[str, dict[str, Any]]:
    """Return the function's source and the objects that it names."""
    if schema.many or schema.partial or schema.unknown != RAISE:
        raise TypeError(f"{schema} must load one object, whole, and refuse unknown members")
    hooks = schema._hooks  # noqa: SLF001 - marshmallow has no public list of them
    if hooks.get(VALIDATES) or hooks.get(VALIDATES_SCHEMA):
        raise TypeError(f"{schema}: methods that validate are not compiled")
    names: dict[str, Any] = {}

    def run(tag: str, variable: str) -> str:
        lines = ""
        for number, (method, pass_collection, options) in enumerate(hooks.get(tag, ())):
            if pass_collection or options.get("pass_original"):
                raise TypeError(f"{method}: a hook that asks for more than the object is not compiled")
            names[hook := f"{tag}_{number}"] = getattr(schema, method)
            # One that ends in ``**_`` looks at nothing but the object.
            ignores = "_" in signature(names[hook]).parameters
            keywords = "" if ignores else f", many=False, partial=None, unknown={RAISE!r}"
            lines += f"{variable} = {hook}({variable}{keywords})\n"
        return lines

    members = "".join(_member(name, field, names) for name, field in schema.load_fields.items())
    body = f"""\
{run(PRE_LOAD, "data")}if type(data) is not dict:
    return None
taken = {{}}
{members}if len(taken) != len(data):
    return None
{run(POST_LOAD, "taken")}return taken
"""
    source = f"""\
def load(data):
    try:
{indent(body, 2 * _STEP)}    except Exception:
        return None
"""
    return source, names


def _member(name: str, field: Field[Any], names: dict[str, Any]) -> str:
    """Return the lines that take one member."""
    if type(field) not in _CONVERSIONS:
        raise TypeError(f"{name}: a field of type {type(field).__name__} is not compiled")
    if (
        not name.isidentifier()
        or not (field.data_key is None and field.attribute is None and field.load_default is missing)
        or field.pre_load
        or field.post_load
    ):
        raise TypeError(f"{name}: another name, a default or hooks of a field are not compiled")
    names[f"deserialize_{name}"] = field._deserialize  # noqa: SLF001 - the public one runs validators too
    lines = _CONVERSIONS[type(field)].format(name=name)
    for number, validator in enumerate(field.validators):
        names[check := f"validate_{name}_{number}"] = validator
        lines += _range(validator) or f"{check}(value)\n"
    if field.allow_none:
        lines = f"if value is not None:\n{indent(lines, _STEP)}"
    lines = f"value = data[{name!r}]\n{lines}taken[{name!r}] = value\n"
    return lines if field.required else f"if {name!r} in data:\n{indent(lines, _STEP)}"


def _range(validator: Validator) -> str | None:
    """Return the lines for a range of numbers, None for any other validator: that one is called."""
    if type(validator) is not Range:
        return None
    low, high = validator.min, validator.max
    bounds = [bound for bound in (low, high) if bound is not None]
    if not bounds or not all(type(bound) in {int, float} and isfinite(bound) for bound in bounds):
        return None
    left = "" if low is None else f"{low!r} {'<=' if validator.min_inclusive else '<'} "
    right = "" if high is None else f" {'<=' if validator.max_inclusive else '<'} {high!r}"
    return f"if not {left}value{right}:\n    return None\n"
