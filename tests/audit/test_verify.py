"""Every tampering, at a random place, is found, named and placed; and what only a signature can prove."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import assume, given
from hypothesis import strategies as st

from listener.audit import reading
from listener.audit.chain import Head, chained, hash_of, head_of, link_of
from listener.audit.chain import written as chain_written
from listener.audit.notes import SigningKey, checkpoint_text, parse_checkpoint, written
from listener.audit.notices import What, notice
from listener.audit.reading import blocks_of
from listener.audit.verdict import Kind, Location, Proof, Span, Tolerance, Trust
from listener.audit.verify import Evidence, gather, read_checkpoints, verify
from support.checkpoints import chain_holds, checkpoints
from support.events import disposition_event
from support.trail import trail, write

COUNT = 24
LINES, HEAD = trail(COUNT)
Draw = Callable[..., int]
TIME = "2026-11-22T09:39:00.123Z"
TWENTY, TWENTY_HEAD = trail(20)
KEY = SigningKey("host/audit", Ed25519PrivateKey.generate())
OTHER = SigningKey("host/audit", Ed25519PrivateKey.generate())


def verified(lines, *, files=1, partial=False):
    with tempfile.TemporaryDirectory() as folder:
        return verify(write(Path(folder), lines, files=files), partial=partial)


def found(lines, files=1):
    """The kinds that are found, each with the lines, counted over all files."""
    size = -(-len(lines) // files)
    verdict = verified(lines, files=files)
    return [
        (finding.kind, finding.place.line + size * int(finding.place.file.stem[-1])) for finding in verdict.findings
    ]


def forged(number: int, *, behind: bytes) -> bytes:
    """A record of the forger's own, linked behind a line as a true one would be."""
    event = disposition_event(number, value="Forged")
    head = head_of(behind.removesuffix(b"\n"))
    return chained(event.to_json(), len(event.data), head)[0] + b"\n"


some = st.integers(0, COUNT - 1)
files = st.integers(1, 3)


@given(files)
def test_a_trail_that_nobody_touched_has_no_finding(split):
    verdict = verified(LINES, files=split)
    assert (verdict.findings, verdict.first, verdict.head, verdict.records) == ([], 0, HEAD, COUNT)


@given(st.integers(0, COUNT - 2), st.data(), files)
def test_an_edit_is_found_in_its_line(number, data, split):
    line = LINES[number]
    at = data.draw(st.integers(0, len(line) - 2))
    byte = data.draw(st.integers(32, 126).filter(lambda byte: byte != line[at]))
    edited = line[:at] + bytes([byte]) + line[at + 1 :]
    kinds = found([*LINES[:number], edited, *LINES[number + 1 :]], split)
    assert kinds
    if link_of(edited) is not None and link_of(edited) == link_of(line):
        assert kinds == [(Kind.EDITED, number + 1)]
    elif number > 0:
        assert (Kind.EDITED, number + 1) in kinds
        assert {line for _, line in kinds} <= {number + 1}


@given(st.integers(0, COUNT - 2), files)
def test_another_value_of_the_same_length_is_found(number, split):
    edited = LINES[number].replace(b"IssueResolved", b"IssueReopened")
    assert found([*LINES[:number], edited, *LINES[number + 1 :]], split) == [(Kind.EDITED, number + 1)]


@given(
    st.integers(1, COUNT - 1), st.sampled_from([b"{}\n", b"\n", b"not JSON\n", disposition_event(9).to_json() + b"\n"])
)
def test_a_strange_line_is_found_where_it_was_put_in(number, strange):
    assert found([*LINES[:number], strange, *LINES[number:]]) == [(Kind.INSERTED, number + 1)]


@given(some, some, files)
def test_a_copy_of_a_record_is_found_where_it_was_put_in(number, place, split):
    tampered = [*LINES[: place + 1], LINES[number], *LINES[place + 1 :]]
    kinds = found(tampered, split)
    if number == place + 1:
        assert kinds == [(Kind.INSERTED, place + 3)], "the copy stands in the place of the record, which comes again"
    elif number <= place:
        assert kinds == [(Kind.INSERTED, place + 2)]
    else:
        assert kinds, "a later record comes early, and again"


@given(st.integers(0, COUNT - 2))
def test_a_forged_record_with_a_fitting_link_is_told_from_the_true_one(number):
    tampered = [*LINES[: number + 1], forged(99, behind=LINES[number]), *LINES[number + 1 :]]
    kinds = found(tampered)
    if number < COUNT - 2:
        assert kinds == [(Kind.INSERTED, number + 2)]
    else:
        assert kinds in ([(Kind.INSERTED, number + 2)], [(Kind.INSERTED, number + 3)]), "nothing follows either"


@given(st.integers(1, COUNT - 2), st.integers(1, 5), files)
def test_deleted_records_are_found_and_counted(first, count, split):
    last = min(first + count, COUNT - 1)
    tampered = [*LINES[:first], *LINES[last:]]
    verdict = verified(tampered, files=split)
    (finding,) = verdict.findings
    size = -(-len(tampered) // split)
    assert finding.kind is Kind.DELETED
    assert finding.place.line + size * int(finding.place.file.stem[-1]) == first + 1
    named = f"record {first} is" if last - first == 1 else f"records {first} to {last - 1} are"
    assert named in finding.text


@given(st.integers(1, COUNT - 1))
def test_a_beginning_that_is_missing_is_found_unless_that_is_known(count):
    (finding,) = verified(LINES[count:]).findings
    assert (finding.kind, finding.place.line) == (Kind.DELETED, 1)
    assert verified(LINES[count:], partial=True).findings == []


@given(some, some)
def test_a_moved_record_is_found(origin, target):
    assume(abs(origin - target) > 0)
    tampered = LINES[:origin] + LINES[origin + 1 :]
    tampered.insert(target, LINES[origin])
    assume(tampered[0] == LINES[0])
    kinds = found(tampered)
    assert {kind for kind, _ in kinds} == {Kind.REORDERED}
    assert all(min(origin, target) < line - 1 <= max(origin, target) + 1 for _, line in kinds)


@given(st.permutations(range(1, 8)))
def test_an_order_of_whatever_kind_is_found(order):
    assume(order != sorted(order))
    kinds = found([LINES[0], *(LINES[number] for number in order), *LINES[8:]])
    assert Kind.REORDERED in {kind for kind, _ in kinds}
    assert {kind for kind, _ in kinds} <= {Kind.REORDERED}


@given(st.integers(0, COUNT - 2), st.integers(2, 6))
def test_a_second_history_behind_the_first_is_a_fork(number, count):
    other, _ = trail(count, start=head_of(forged(50, behind=LINES[number]).removesuffix(b"\n")))
    tampered = [*LINES, forged(50, behind=LINES[number]), *other]
    kinds = found(tampered)
    assert {kind for kind, _ in kinds} & {Kind.FORKED, Kind.INSERTED}
    assert all(line >= COUNT for _, line in kinds)


@given(st.integers(1, COUNT - 1), st.integers(1, 20))
def test_a_line_without_its_end_is_found(number, missing):
    tampered = [*LINES[:number], LINES[number][:-missing]]
    assert (Kind.CUT, number + 1) in found(tampered)


OLDER = [disposition_event(number).to_json() + b"\n" for number in range(3)]
BEHIND_OLDER = trail(COUNT, start=Head(0, hash_of(b"".join(OLDER))))[0]


def test_lines_from_before_the_chain_are_counted_and_not_proven():
    verdict = verified([*OLDER, *BEHIND_OLDER])
    assert (verdict.findings, verdict.unchained, verdict.records) == ([], 3, COUNT)


@given(st.integers(1, 3))
def test_a_line_put_before_a_chain_that_began_its_file_is_found(count):
    verdict = verified([*OLDER[:count], *LINES])
    assert [(each.kind, each.place.line) for each in verdict.findings] == [(Kind.INSERTED, 1)]
    assert (verdict.unchained, verdict.records) == (0, COUNT)


@given(st.permutations(range(3)), st.integers(0, 3))
def test_what_stood_before_the_chain_cannot_be_changed_either(order, kept):
    older = [OLDER[number] for number in order][:kept]
    expected = [] if older == OLDER else [(Kind.EDITED, kept + 1)]
    assert [(each.kind, each.place.line) for each in verified([*older, *BEHIND_OLDER]).findings] == expected


def test_a_line_put_before_the_first_record_of_a_later_file_is_found_without_the_earlier_ones():
    kinds = {each.kind for each in verified([OLDER[0], *LINES[5:]]).findings}
    assert Kind.INSERTED in kinds


def test_nothing_is_nothing():
    verdict = verified([])
    assert (verdict.findings, verdict.first, verdict.head) == ([], None, Head())


@pytest.mark.parametrize("count", [1, 2, 3])
def test_edits_beside_each_other_are_found(count):
    edited = [line.replace(b"IssueResolved", b"IssueReopened") for line in LINES[5 : 5 + count]]
    kinds = found([*LINES[:5], *edited, *LINES[5 + count :]])
    assert kinds
    assert {kind for kind, _ in kinds} == {Kind.EDITED}
    assert {line for _, line in kinds} <= set(range(6, 6 + count))


def test_a_place_is_a_file_and_a_line(tmp_path):
    paths = write(tmp_path, [*LINES[:20], b"{}\n", *LINES[20:]], files=2)
    (finding,) = verify(paths).findings
    assert finding.place == Location(paths[1], 8)


def signed(path, *sizes, key=KEY, heads=None, trusted=KEY):
    """A file of checkpoints of these sizes, as evidence for whoever trusts one key."""
    heads = heads or {size: head_of(TWENTY[size - 1][:-1]) for size in sizes}
    path.write_text(written(key.sign(checkpoint_text("host/audit", heads[size], TIME)) for size in sizes))
    return read_checkpoints(path)._replace(keys=(trusted.verifier,))


def kinds(verdict):
    return [finding.kind for finding in verdict.findings]


@pytest.fixture
def notes(tmp_path):
    return tmp_path / "notes"


def rewritten(number):
    """The trail as somebody without the key would forge it: one value changed, and the chain made anew behind it."""
    head = head_of(TWENTY[number - 1][:-1]) if number else Head()
    forged = []
    for place in range(number, len(TWENTY)):
        event = disposition_event(
            place + 1, chat=f"chat-{(place + 1) % 7}", value="Forged" if place == number else "IssueResolved"
        )
        line, head = chained(event.to_json(), len(event.data), head)
        forged.append(line + b"\n")
    return [*TWENTY[:number], *forged]


def test_a_trail_that_was_signed_is_proven_as_far_as_that(tmp_path, notes):
    verdict = verify(write(tmp_path, TWENTY), signed(notes, 5, 12))
    assert (verdict.findings, verdict.signed, verdict.checkpoints) == ([], 12, 2)


@given(number=st.integers(0, 11))
def test_a_history_that_was_written_anew_is_found_at_the_first_record_that_was_signed(number, tmp_path_factory):
    folder = tmp_path_factory.mktemp("forged")
    forged = rewritten(number)
    assert verify(write(folder, forged)).findings == [], "without a signature nothing tells it from the true one"
    (finding, *_) = verify(write(folder, forged), signed(folder / "n", 12)).findings
    assert (finding.kind, finding.place.line) == (Kind.FORKED, 12)


@given(left=st.integers(1, 19))
def test_a_tail_that_was_cut_is_found_where_a_later_checkpoint_exists(left, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cut")
    paths = write(folder, TWENTY[:left])
    verdict = verify(paths, signed(folder / "n", 20))
    assert kinds(verdict) == [Kind.CUT]
    assert verdict.findings[0].place == Location(paths[0], left)
    assert f"{20 - left} fewer" in verdict.findings[0].text
    assert verify(paths, signed(folder / "n", left)).findings == []


def test_an_edit_of_the_very_last_record_is_found_by_its_checkpoint(tmp_path, notes):
    edited = [*TWENTY[:-1], TWENTY[-1].replace(b"IssueResolved", b"IssueReopened")]
    assert verify(write(tmp_path, edited)).findings == []
    verdict = verify(write(tmp_path, edited), signed(notes, 20))
    assert [(finding.kind, finding.place.line) for finding in verdict.findings] == [(Kind.FORKED, 20)]


def test_a_checkpoint_of_another_key_proves_nothing_and_is_told(tmp_path, notes):
    verdict = verify(write(tmp_path, TWENTY), signed(notes, 5, 20, key=OTHER))
    assert (kinds(verdict), verdict.signed, verdict.is_proven()) == ([], 0, False)
    assert [(one.label, one.trust, one.checkpoints) for one in verdict.keys] == [
        (KEY.verifier.label, Trust.GIVEN, 0),
        (OTHER.verifier.label, Trust.UNKNOWN, 2),
    ]
    assert list(verdict.doubts()) == [f"nothing is signed: there is no checkpoint by {KEY.verifier.label}"]


def test_a_checkpoint_that_bears_the_name_of_a_key_that_did_not_sign_it_is_found(tmp_path, notes):
    genuine = KEY.sign(checkpoint_text("host/audit", head_of(TWENTY[4][:-1]), TIME))
    notes.write_text(written([genuine, genuine.replace("\n5\n", "\n6\n")]))
    verdict = verify(write(tmp_path, TWENTY), read_checkpoints(notes)._replace(keys=(KEY.verifier,)))
    assert [(finding.kind, finding.place) for finding in verdict.findings] == [(Kind.FORGED, Location(notes, 2))]
    assert verdict.signed == 5


def test_a_note_that_is_none_costs_only_itself(tmp_path, notes):
    genuine = [KEY.sign(checkpoint_text("host/audit", head_of(TWENTY[size - 1][:-1]), TIME)) for size in (5, 20)]
    notes.write_text(written([genuine[0], "nonsense\n", genuine[1]]))
    verdict = verify(write(tmp_path, TWENTY), read_checkpoints(notes)._replace(keys=(KEY.verifier,)))
    assert [(finding.kind, finding.place) for finding in verdict.findings] == [(Kind.MALFORMED, Location(notes, 2))]
    assert (verdict.signed, verdict.is_proven()) == (20, False)


@given(edited=st.integers(0, 19))
def test_what_stands_behind_the_last_checkpoint_before_an_edit_is_not_proven(edited, tmp_path_factory):
    folder = tmp_path_factory.mktemp("edited")
    lines = list(TWENTY)
    lines[edited] = lines[edited].replace(b"IssueResolved", b"IssueReopened")
    verdict = verify(write(folder, lines), signed(folder / "n", 5, 12, 20))
    proven = [one.records for one in verdict.stretches if one.proof is Proof.SIGNED]
    before = max((size for size in (0, 5, 12) if size <= edited), default=0)
    assert proven == [span for span in (Span(0, before - 1), Span(edited + 1, 19)) if span.first <= span.last]
    assert not verdict.is_proven(Tolerance(unsigned=20))


def test_keys_are_followed_from_the_first_to_the_last(tmp_path, notes):
    """The old key vouches for the new one, whichever of them the auditor has."""
    head = head_of(TWENTY[11][:-1])
    handed_over = KEY.sign(checkpoint_text("host/audit", head, TIME, OTHER.verifier))
    later = OTHER.sign(checkpoint_text("host/audit", TWENTY_HEAD, TIME))
    notes.write_text(written([handed_over, later]))
    files, evidence = write(tmp_path, TWENTY), read_checkpoints(notes)
    old, new, both = (
        verify(files, evidence._replace(keys=keys))
        for keys in ((KEY.verifier,), (OTHER.verifier,), (KEY.verifier, OTHER.verifier))
    )
    assert old.is_proven()
    assert [(one.label, one.trust, one.introduced_by) for one in old.keys] == [
        (KEY.verifier.label, Trust.GIVEN, None),
        (OTHER.verifier.label, Trust.INTRODUCED, KEY.verifier.label),
    ]
    assert [(one.records, one.keys) for one in old.stretches] == [
        (Span(0, 11), (KEY.verifier.label, OTHER.verifier.label)),
        (Span(12, 19), (OTHER.verifier.label,)),
    ]
    assert new.is_proven()
    assert [(one.label, one.trust) for one in new.keys] == [
        (OTHER.verifier.label, Trust.GIVEN),
        (KEY.verifier.label, Trust.UNKNOWN),
    ]
    assert both.is_proven()


def test_a_key_that_only_names_itself_as_the_successor_is_not_followed(tmp_path, notes):
    mine = OTHER.sign(checkpoint_text("host/audit", TWENTY_HEAD, TIME, OTHER.verifier))
    notes.write_text(written([mine]))
    verdict = verify(write(tmp_path, TWENTY), read_checkpoints(notes)._replace(keys=(KEY.verifier,)))
    assert (verdict.signed, verdict.is_proven()) == (0, False)


def test_without_a_trusted_key_the_one_beside_the_files_is_looked_at_and_proves_nothing(tmp_path):
    files = write(tmp_path, TWENTY)
    signed(tmp_path / "trail-0.jsonl.checkpoints", 20)
    (tmp_path / "trail-0.jsonl.pub").write_text(f"{KEY.verifier}\n")
    verdict = verify(files, gather(files))
    assert ([one.trust for one in verdict.keys], verdict.signed) == ([Trust.BESIDE], 20)
    assert [text.partition(":")[0] for text in verdict.doubts()] == ["the key lies beside the files"]
    assert verify(files, gather(files, pubkeys=[str(KEY.verifier)])).is_proven()


def test_where_the_key_beside_the_files_is_none_there_is_none(tmp_path):
    files = write(tmp_path, TWENTY)
    (tmp_path / "trail-0.jsonl.pub").write_bytes(b"\xff")
    assert gather(files) == Evidence()


def test_a_file_without_any_record_is_found_with_its_first_line(tmp_path, notes):
    files = write(tmp_path, TWENTY, files=2)
    added = tmp_path / "trail-0.jsonl.20261127T000000Z"
    added.write_bytes(b"".join(OLDER))
    verdict = verify([*files, added], signed(notes, 20))
    assert [(finding.kind, finding.place) for finding in verdict.findings] == [(Kind.INSERTED, Location(added, 1))]
    assert [(one.proof, one.lines) for one in verdict.stretches] == [(Proof.NONE, 3), (Proof.SIGNED, 20)]


def test_lines_from_before_the_chain_are_accepted_as_far_as_that_is_asked_for(tmp_path, notes):
    head = head_of(BEHIND_OLDER[-1][:-1])
    files = write(tmp_path, [*OLDER, *BEHIND_OLDER])
    verdict = verify(files, signed(notes, COUNT, heads={COUNT: head}))
    assert [(one.proof, one.lines) for one in verdict.stretches] == [(Proof.NONE, 3), (Proof.SIGNED, COUNT)]
    assert [verdict.is_proven(Tolerance(unchained=count)) for count in (0, 2, 3)] == [False, False, True]


def strange_numbers(count):
    """Records between each two of which one is missing."""
    return [b'{"id":"x"' + chain_written(Head(30 + 2 * number, bytes(32))) + b"1}\n" for number in range(count)]


def strange_notices(count):
    """Each says that other records are unconfirmed."""
    told = ({"firstRecord": number, "lastRecord": 2 * number} for number in range(count))
    return [
        notice(What.UNCONFIRMED, data, sink="audit", head=Head(30 + 2 * number, bytes(32)), time_s=1.0)[0]
        for number, data in enumerate(told)
    ]


@pytest.mark.parametrize("made", [strange_numbers, strange_notices])
def test_nobody_keeps_an_auditor_from_his_verdict_by_many_lines(made, tmp_path, notes):
    """Eight times the lines take eight times the work, or somewhat more, and not sixty times."""

    def taken_s(count):
        lines = [*TWENTY, *made(count)]
        began = time.thread_time()
        verdict = verify(write(tmp_path, lines), evidence)
        taken = time.thread_time() - began
        assert (verdict.signed, len(verdict.findings) >= count) == (20, True)
        return taken

    evidence = signed(notes, 5, 20)
    few_s, many_s = (min(taken_s(count) for _ in range(2)) for count in (500, 4000))
    assert many_s < 25 * few_s


def test_a_line_without_end_takes_no_more_memory_than_its_bound(tmp_path, notes, monkeypatch):
    """It is hashed as it comes, so a record that is longer still is what was signed."""
    bound = max(line.find(b',"data":') for line in TWENTY) + 10
    monkeypatch.setattr(reading, "LINE_BYTES", bound)
    paths = write(tmp_path, TWENTY, files=2)
    assert verify(paths, signed(notes, 5, 20)).is_proven(), "though no line of it is held as a whole"
    assert max(len(line) for path in paths for block in blocks_of(path) for line in block.lines) == bound
    paths[0].write_bytes(b"".join(TWENTY[:10]).replace(b"IssueResolved", b"IssueReopened", 1))
    assert kinds(verify(paths, signed(notes, 5, 20))) == [Kind.EDITED]
    paths[0].write_bytes(b"".join(TWENTY[:10]) + b"\0" * 5000)
    assert kinds(verify(paths, signed(notes, 5, 20))) == [Kind.CUT, Kind.INSERTED]


def test_a_kept_file_that_nobody_trusted_has_signed_is_held_against_nothing(tmp_path, notes):
    paths = write(tmp_path, TWENTY)
    good = signed(notes, 20)
    other = signed(tmp_path / "kept", 20, key=OTHER)
    evidence = good._replace(checkpoints=good.checkpoints + other.checkpoints, kept=(tmp_path / "kept",))
    verdict = verify(paths, evidence)
    assert list(verdict.doubts()) == [
        f"no checkpoint in {tmp_path / 'kept'} is by a trusted key: the trail was held against none of them"
    ]
    assert verify(paths, evidence._replace(kept=(notes,))).is_proven()


def test_a_tail_that_only_a_stranger_has_signed_is_not_one_that_waits_for_its_signature(tmp_path, notes):
    """Somebody put a key of his own in the place of ours; or ours is lost, and the auditor has not heard of it."""
    good, other = signed(notes, 12), signed(tmp_path / "other", 16, key=OTHER)
    evidence = good._replace(checkpoints=good.checkpoints + other.checkpoints)
    verdict = verify(write(tmp_path, TWENTY), evidence)
    (doubt,) = verdict.doubts(Tolerance(unsigned=1000))
    assert doubt.startswith("8 lines from ")
    assert doubt.endswith(f"the checkpoints behind are by {OTHER.verifier.label}, and not by a trusted key")
    assert [(one.label, one.signed) for one in verdict.keys] == [(KEY.verifier.label, 12), (OTHER.verifier.label, 16)]


@pytest.mark.parametrize("key", [True, False])
def test_what_an_editor_of_windows_puts_before_a_text_changes_nothing(key, tmp_path, notes):
    (tmp_path / "key").write_text(f"{KEY.verifier}\n")
    signed(notes, 20)
    changed = tmp_path / "key" if key else notes
    changed.write_bytes(b"\xef\xbb\xbf" + changed.read_bytes().replace(b"\n", b"\r\n"))
    paths = write(tmp_path, TWENTY)
    assert verify(paths, gather(paths, pubkeys=[str(tmp_path / "key")], checkpoints=[notes])).is_proven()


def test_two_histories_that_were_both_signed_are_a_fork(tmp_path, notes):
    other = head_of(rewritten(3)[-1][:-1])
    both = signed(notes, 20), signed(tmp_path / "copy", 20, heads={20: other})
    evidence = both[0]._replace(checkpoints=(*both[0].checkpoints, *both[1].checkpoints))
    assert Kind.FORKED in kinds(verify(write(tmp_path, TWENTY), evidence))


def test_an_auditors_own_verifier_comes_to_the_same(tmp_path, notes):
    signed(notes, 5, 12, 20)
    (path,) = write(tmp_path, TWENTY)
    read = checkpoints(notes, str(KEY.verifier))
    assert [(origin, size) for origin, size, _ in read] == [("host/audit", 5), ("host/audit", 12), ("host/audit", 20)]
    assert all(chain_holds(path, size, root) for _, size, root in read)
    path.write_bytes(path.read_bytes().replace(b"IssueResolved", b"IssueReopened", 1))
    assert not any(chain_holds(path, size, root) for _, size, root in read)
    with pytest.raises(AssertionError):
        checkpoints(notes, str(OTHER.verifier))


def test_a_note_that_two_have_signed_is_good_for_either():
    note = KEY.sign(checkpoint_text("host/audit", TWENTY_HEAD, TIME))
    more = note + OTHER.sign(checkpoint_text("host/audit", TWENTY_HEAD, TIME)).partition("\n\n")[2]
    checkpoint = parse_checkpoint(more)
    assert checkpoint.is_signed_by(KEY.verifier)
    assert checkpoint.is_signed_by(OTHER.verifier)
