import resource
from collections.abc import Iterator

import pytest

from listener.runtime.open_files import allowed, open_as_many_files_as_allowed


@pytest.fixture
def limits() -> Iterator[tuple[int, int]]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield before
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_the_soft_limit_is_raised_to_what_the_host_allows(limits: tuple[int, int]):
    _, hard = limits
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    open_as_many_files_as_allowed()
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert soft == (65_536 if hard == resource.RLIM_INFINITY else min(65_536, hard))
    assert allowed() == (None if hard == resource.RLIM_INFINITY else hard)


def test_a_limit_that_is_high_enough_stays(limits: tuple[int, int]):
    soft, hard = limits
    wanted = hard if hard != resource.RLIM_INFINITY else max(soft, 65_536)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    open_as_many_files_as_allowed()
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (wanted, hard)
