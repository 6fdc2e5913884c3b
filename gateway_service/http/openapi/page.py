"""The OpenAPI document as a page for people: plain HTML that needs no script and nothing from elsewhere."""

from __future__ import annotations

import re
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    Node = dict[str, Any]

_CODE = re.compile(r"`([^`]+)`")


def render_page(document: Node) -> str:
    """The whole page."""
    operations = [
        (path, verb, operation) for path, verbs in document["paths"].items() for verb, operation in verbs.items()
    ]
    schemas: Node = document["components"]["schemas"]
    return "\n".join(
        [
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<title>Taskcast over HTTP</title><link rel="stylesheet" href="/docs.css"></head><body>',
            f"<header><h1>Taskcast over HTTP</h1><p>Version {escape(document['info']['version'])}.",
            'For programs: <a href="/openapi.json">/openapi.json</a>.</p></header>',
            "<nav aria-label=Contents><ul>",
            *(_entry(path, verb, operation) for path, verb, operation in operations),
            "</ul></nav><main>",
            _prose(document["info"]["description"]),
            *(_operation(path, verb, operation) for path, verb, operation in operations),
            "<h2>Messages</h2>",
            *(_schema(name, schema) for name, schema in schemas.items()),
            "</main></body></html>",
        ]
    )


def _entry(path: str, verb: str, operation: Node) -> str:
    return f'<li><a href="#{operation["operationId"]}"><b>{verb.upper()}</b> {escape(path)}</a></li>'


def _operation(path: str, verb: str, operation: Node) -> str:
    parts = [
        f'<section id="{operation["operationId"]}"><h3><b>{verb.upper()}</b> <code>{escape(path)}</code></h3>',
        # A description begins with what the summary says.
        _prose(operation.get("description", f"{operation['summary']}.")),
    ]
    if parameters := operation.get("parameters"):
        rows = [
            (f"{p['name']} <small>in {p['in']}</small>", _type(p["schema"]), p.get("description", ""))
            for p in parameters
        ]
        parts.append(_table("Parameter", rows))
    if body := operation.get("requestBody"):
        schema = body["content"]["application/json"]["schema"]
        parts.append("<h4>Body</h4>")
        parts.append(f"<p>{_type(schema)}</p>" if "$ref" in schema else _fields(schema))
    parts.append("<h4>Answers</h4><dl>")
    for status, answer in operation["responses"].items():
        kinds = [f"{_type(content['schema'])} as {escape(kind)}" for kind, content in answer.get("content", {}).items()]
        told = _inline(answer["description"].removesuffix("."))
        parts.append(f"<dt>{status}</dt><dd>{told}{': ' if kinds else ''}{', '.join(kinds)}.</dd>")
    return "\n".join([*parts, "</dl></section>"])


def _schema(name: str, schema: Node) -> str:
    described = _prose(schema.get("description", ""))
    return f'<section id="{escape(name)}"><h3>{escape(name)}</h3>{described}{_fields(schema)}</section>'


def _fields(schema: Node) -> str:
    properties: Node = schema.get("properties", {})
    rows = [(escape(name), _type(field), field.get("description", "")) for name, field in properties.items()]
    return _table("Field", rows) if rows else ""


def _table(first: str, rows: list[tuple[str, str, str]]) -> str:
    body = [f"<tr><th scope=row>{name}</th><td>{kind}</td><td>{_inline(told)}</td></tr>" for name, kind, told in rows]
    head = f"<tr><th scope=col>{first}</th><th scope=col>Type</th><th scope=col>Meaning</th></tr>"
    return "\n".join([f"<div class=table><table><thead>{head}</thead><tbody>", *body, "</tbody></table></div>"])


def _type(schema: Node) -> str:
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#{name}">{name}</a>'
    if "items" in schema:
        return f"array of {_type(schema['items'])}"
    if schema.get("additionalProperties"):
        return f"object of {_type(schema['additionalProperties'])}"
    kind = escape(schema.get("type", "any JSON"))
    return f"{kind} ({escape(schema['format'])})" if "format" in schema else kind


def _prose(text: str) -> str:
    """Paragraphs, lists and indented lines of a comment."""
    return "\n".join(_block(block) for block in text.split("\n\n") if block.strip())


def _block(block: str) -> str:
    lines = block.split("\n")
    if all(line.startswith("- ") for line in lines):
        return "<ul>" + "".join(f"<li>{_inline(line[2:])}</li>" for line in lines) + "</ul>"
    return "".join(_runs(lines))


def _runs(lines: list[str]) -> Iterator[str]:
    """Lines that are indented stay as they are; those between them flow."""
    run: list[str] = []
    fixed = False
    for line in [*lines, None]:
        if run and (line is None or line.startswith("  ") != fixed):
            yield f"<pre>{escape(chr(10).join(run))}</pre>" if fixed else f"<p>{_inline(' '.join(run))}</p>"
            run = []
        if line is not None:
            fixed = line.startswith("  ")
            run.append(line)


def _inline(text: str) -> str:
    return _CODE.sub(r"<code>\1</code>", escape(text))
