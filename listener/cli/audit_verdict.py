"""The verdict on an audit trail, as `audit verify` tells it to people and to programs."""

from collections.abc import Iterator
from typing import Any

from listener.audit.verdict import Proof, Stretch, Tolerance, Trust, Verdict
from listener.model.escaping import printable

_SHOWN = 100  # findings, and stretches; a trail with more is not worth reading further
_TRUSTED = {
    Trust.GIVEN: "trusted, as it was given",
    Trust.INTRODUCED: "trusted, as it was introduced",
    Trust.BESIDE: "not trusted: it was found beside the files, where whoever can change them can exchange it",
    Trust.UNKNOWN: "not trusted, and not looked at",
}


def print_verdict(verdict: Verdict) -> None:
    """Findings, keys and stretches, a line each, on standard output."""
    for finding in verdict.findings[:_SHOWN]:
        print(printable(str(finding)))
    if len(verdict.findings) > _SHOWN:
        print(f"… and {len(verdict.findings) - _SHOWN} more")
    for line in _in_words(verdict):
        print(printable(line))


def _in_words(verdict: Verdict) -> Iterator[str]:
    for key in verdict.keys:
        by = f" by {key.introduced_by}" if key.introduced_by is not None else ""
        reach = f", up to record {key.signed - 1}" if key.signed else ""
        yield f"key {key.label}: {_TRUSTED[key.trust]}{by}; checkpoints: {key.checkpoints}{reach}"
    trusted = {key.label for key in verdict.keys if key.trust is not Trust.BESIDE}
    for one in verdict.stretches[:_SHOWN]:
        what = f"records {one.records.first} to {one.records.last}" if one.records is not None else "lines of no chain"
        yield f"{what}, {one.first} to {one.last}: {_proof_of(one, trusted)}"
    if len(verdict.stretches) > _SHOWN:
        yield f"… and {len(verdict.stretches) - _SHOWN} more"


def _proof_of(one: Stretch, trusted: set[str]) -> str:
    lines = f"{one.lines} line{'s'[: one.lines != 1]}"
    if one.proof is Proof.SIGNED:
        doubt = "" if trusted.intersection(one.keys) else ", which is not trusted"
        return f"signed by {' and '.join(one.keys)}{doubt}"
    if one.proof is Proof.CHAINED:
        return f"chained, not signed ({lines})"
    return f"not proven ({lines})"


def verdict_json(verdict: Verdict, asked: Tolerance) -> dict[str, Any]:
    """The verdict as `audit verify --json` writes it; `docs/audit-verdict.schema.json` is its schema."""
    doubts = list(verdict.doubts(asked))
    return {
        "proven": not doubts,
        "doubts": doubts,
        "findings": [
            {"kind": one.kind, "file": str(one.place.file), "line": one.place.line, "text": one.text}
            for one in verdict.findings
        ],
        "stretches": [_stretch_json(one) for one in verdict.stretches],
        "keys": [
            {
                "key": one.label,
                "trust": one.trust,
                "checkpoints": one.checkpoints,
                "signed": one.signed,
                "introducedBy": one.introduced_by,
            }
            for one in verdict.keys
        ],
        "records": verdict.records,
        "first": verdict.first,
        "size": verdict.head.size,
        "hash": verdict.head.hash.hex(),
        "unchained": verdict.unchained,
        "signed": verdict.signed,
        "unsigned": verdict.unsigned,
        "checkpoints": verdict.checkpoints,
    }


def _stretch_json(one: Stretch) -> dict[str, Any]:
    return {
        "proof": one.proof,
        "keys": one.keys,
        "firstRecord": one.records.first if one.records is not None else None,
        "lastRecord": one.records.last if one.records is not None else None,
        "lines": one.lines,
        "from": {"file": str(one.first.file), "line": one.first.line},
        "to": {"file": str(one.last.file), "line": one.last.line},
    }
