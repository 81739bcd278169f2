"""Writes the generated files of docs/: the JSON Schema of the events, and the AsyncAPI document."""

from pathlib import Path

from listener.model.schemas import asyncapi, event_schema, text_of

if __name__ == "__main__":
    docs = Path(__file__).parents[2] / "docs"
    (docs / "events.schema.json").write_text(text_of(event_schema()), encoding="utf-8")
    (docs / "asyncapi.json").write_text(text_of(asyncapi()), encoding="utf-8")
