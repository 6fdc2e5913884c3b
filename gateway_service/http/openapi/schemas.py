"""JSON Schemas of messages: what proto3 JSON makes of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf import descriptor

from gateway_service.http.openapi.comments import comment_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

    Schema = dict[str, Any]

_Field = descriptor.FieldDescriptor

WELL_KNOWN: Mapping[str, Schema] = {
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Duration": {"type": "string", "pattern": r"^[0-9]{1,9}(\.[0-9]{1,9})?s$", "examples": ["1.5s"]},
    "google.protobuf.Value": {},
    "google.protobuf.Struct": {"type": "object"},
    "google.protobuf.Any": {
        "type": "object",
        "required": ["@type"],
        "properties": {"@type": {"type": "string"}},
    },
}

SCALARS: Mapping[int, Schema] = {
    _Field.CPPTYPE_STRING: {"type": "string"},
    _Field.CPPTYPE_BOOL: {"type": "boolean"},
    _Field.CPPTYPE_DOUBLE: {"type": "number"},
    _Field.CPPTYPE_INT32: {"type": "integer", "format": "int32", "minimum": -(2**31), "maximum": 2**31 - 1},
    # Numbers of JSON are doubles, so proto3 JSON writes these as text.
    _Field.CPPTYPE_INT64: {"type": "string", "format": "int64", "pattern": "^-?[0-9]{1,19}$"},
}


class Schemas:
    """The schemas of messages and of all that they hold, gathered as they are referred to."""

    def __init__(self, limits: Mapping[str, Schema]) -> None:
        """`limits` are further keywords for the fields of requests, by the fields' full names."""
        self._limits = limits
        self._found: dict[str, Schema] = {}

    @property
    def found(self) -> dict[str, Schema]:
        """All schemas that were referred to, by name."""
        return dict(sorted(self._found.items()))

    def reference(self, kind: Descriptor) -> Schema:
        """A reference to a message's schema."""
        return self._refer(_name_of(kind), lambda: self.message(kind))

    def message(self, kind: Descriptor, *, without: frozenset[str] = frozenset()) -> Schema:
        """A message's own schema, some of its fields left out."""
        schema: Schema = {"type": "object", "description": comment_of(kind.full_name)}
        fields = [field for field in kind.fields if field.name not in without]
        if fields:
            schema["properties"] = {field.json_name: self.field(field) for field in fields}
        if kind.name.endswith("Request"):
            schema["additionalProperties"] = False
        if required := [field.json_name for field in fields if self._limits.get(field.full_name, {}).get("minLength")]:
            schema["required"] = required
        return schema

    def field(self, field: FieldDescriptor) -> Schema:
        """A field's schema, described by its comment."""
        limits = self._limits.get(field.full_name, {})
        return {**self._shape(field), **limits, "description": comment_of(field.full_name)}

    def _shape(self, field: FieldDescriptor) -> Schema:
        kind = field.message_type
        if kind is not None and kind.GetOptions().map_entry:
            return {"type": "object", "additionalProperties": self._item(kind.fields_by_name["value"])}
        if field.is_repeated:
            return {"type": "array", "items": self._item(field)}
        return self._item(field)

    def _item(self, field: FieldDescriptor) -> Schema:
        if field.message_type is not None:
            known = WELL_KNOWN.get(field.message_type.full_name)
            return dict(known) if known is not None else self.reference(field.message_type)
        if field.enum_type is not None:
            return self._enum(field.enum_type)
        return dict(SCALARS[field.cpp_type])

    def _enum(self, kind: EnumDescriptor) -> Schema:
        return self._refer(_name_of(kind), lambda: _enum_schema(kind))

    def _refer(self, name: str, make: Any) -> Schema:
        if name not in self._found:
            self._found[name] = {}  # A message may hold itself.
            self._found[name] = make()
        return {"$ref": f"#/components/schemas/{name}"}


def _enum_schema(kind: EnumDescriptor) -> Schema:
    owner = kind.full_name.rpartition(".")[0]
    values = [
        f"- `{value.name}`: {' '.join(comment_of(f'{kind.full_name}.{value.name}').split())}" for value in kind.values
    ]
    return {
        "type": "string",
        "enum": [value.name for value in kind.values],
        "description": "\n".join([comment_of(kind.full_name), "", *values]) if owner else "",
    }


def _name_of(kind: Descriptor | EnumDescriptor) -> str:
    """The name within the contract: what lies outside of it, `google.rpc.Status`, goes by its last word."""
    return kind.full_name.removeprefix("taskcast.v1.").removeprefix("google.rpc.")
