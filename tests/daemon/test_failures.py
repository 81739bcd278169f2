"""Which error is shown of several, and where it happened."""

import asyncio

import pytest

from listener.daemon.failures import first, loud, says_only_that_it_is_fenced
from listener.errors import JournalError, JournalFenced

FENCED = JournalFenced("over")


async def test_an_error_says_in_which_task_it_was():
    async def fail() -> None:
        raise ExceptionGroup("all", [ValueError("one"), OSError("two")])

    with pytest.raises(ExceptionGroup) as caught:
        await asyncio.create_task(loud(fail()), name="lane crm")
    assert [exc.__notes__ for exc in caught.value.exceptions] == [["in lane crm"], ["in lane crm"]]


def test_an_error_of_ours_is_shown_before_any_other():
    ours = JournalError("disk full")
    assert first(ExceptionGroup("all", [ValueError("one"), ExceptionGroup("inner", [ours])])) is ours


def test_without_one_of_ours_it_is_the_first():
    one = ValueError("one")
    assert first(ExceptionGroup("all", [one, OSError("two")])) is one


@pytest.mark.parametrize(
    ("errors", "is_fenced"),
    [
        ([FENCED], True),
        ([FENCED, JournalError("meanwhile")], True),
        ([JournalError("alone")], False),
        ([FENCED, ValueError("a bug")], False),
    ],
)
def test_a_fence_explains_what_failed_with_it_but_no_bug(errors: list[Exception], *, is_fenced: bool):
    assert says_only_that_it_is_fenced(ExceptionGroup("all", errors)) is is_fenced
