"""Trails in files, and what proves them."""

import pytest

from listener.audit.trail import Hooks, Trail, TrailOptions
from listener.audit.verify import gather, verify
from listener.model.forms import CLOUD_EVENT
from support.checkpoints import chain_holds, checkpoints
from support.trail import settle


class Clock:
    """Epoch seconds that pass when a test says so."""

    def __init__(self):
        self.now_s = 1_795_340_340.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def path(tmp_path):
    return tmp_path / "events.jsonl"


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def make_trail(path, clock):
    """Trails on `path`, one at a time; those that are left open are closed at the end."""
    made = []

    def make(*, hooks=None, touched=False, **options):
        """`touched` leaves it to the test to settle what is unsigned."""
        options = TrailOptions(path=path, sink="audit", form=CLOUD_EVENT, **options)
        made.append(Trail(options=options, hooks=hooks or Hooks(), now=clock))
        made[-1].open()
        if not touched:
            settle(made[-1])
        return made[-1]

    yield make
    for trail in made:
        trail.close()


@pytest.fixture
def append():
    """Append events as the sink does."""

    def put(trail, events):
        trail.append(events)

    return put


@pytest.fixture
def proven(path):
    """Verify the whole trail with its checkpoints, ours and an auditor's verifier alike; gives the verdict."""

    def prove(*others, partial=False):
        notes, public = path.with_name("events.jsonl.checkpoints"), path.with_name("events.jsonl.pub")
        files = [place for place in (*others, path) if place.exists()]
        evidence = gather(files, pubkeys=[str(public)])
        signed = evidence.checkpoints
        verdict = verify(files, evidence, partial=partial)
        assert verdict.findings == []
        if signed:
            heads = checkpoints(notes, public.read_text())
            assert [(size, root) for _, size, root in heads] == [(one.head.size, one.head.hash) for _, one in signed]
            if files == [path] and not verdict.unchained:
                assert all(chain_holds(path, size, root) for _, size, root in heads)
        return verdict

    return prove
