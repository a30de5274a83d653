"""Every refusal has words on what to do next, and is either final or worth waiting for."""

import pytest

from policies.advice import NEXT
from policies.codes import Code


@pytest.mark.parametrize("code", Code)
def test_every_code_says_what_to_do_next(code: Code) -> None:
    assert code.value == code.name
    assert len(NEXT[code].split()) >= 3
    assert NEXT[code].isprintable()
    assert NEXT[code] == NEXT[code].strip(" .")


def test_there_are_no_words_for_codes_that_do_not_exist() -> None:
    assert NEXT.keys() == set(Code)


def test_a_code_that_is_not_in_the_list_of_waits_is_final() -> None:
    final = {code for code in Code if not code.waits}
    forgery = {Code.APPROVAL_INVALID, Code.SIGNATURE_INVALID, Code.REQUEST_ID_REUSED}
    no = {Code.NO_RULE, Code.CAP_EXCEEDED, Code.INTENT_EXPIRED, Code.APPROVAL_REJECTED}
    assert forgery | no <= final
    assert {Code.APPROVALS_MISSING, Code.APPROVALS_STALE, Code.NONCE_USED}.isdisjoint(final)
