"""docs/integration.md says of codes and states what the code says. As a program it mends the table.

.venv/bin/python tests/unit/test_integration_doc.py
"""

import re
from pathlib import Path

from custody.asks import ATTEMPT_SECONDS, BATCH_MAX, BATCH_SECONDS
from custody.domain.states import State, Waiting
from custody.errors import status_of
from custody.limits import Limits
from custody.watching import QUIET_SECONDS
from policies.advice import NEXT
from policies.codes import Code

DOC = Path(__file__).parents[2] / "docs" / "integration.md"
BEGIN, END = "writes and checks this table -->\n", "<!-- /errors -->"


def table() -> str:
    rows = ["| code | gRPC status | again | what to do next |", "|---|---|---|---|"]
    for code in Code:
        again = "yes" if code.waits else ""
        rows.append(f"| {code} | {status_of(code).name} | {again} | {NEXT[code]} |")
    return "\n".join(rows) + "\n"


def with_table(text: str) -> str:
    head, _, rest = text.partition(BEGIN)
    return head + BEGIN + table() + END + rest.partition(END)[2]


def test_every_code_is_in_the_table_with_its_status_and_advice() -> None:
    text = DOC.read_text()
    assert text == with_table(text), f"run {__file__} to mend it"


def test_every_state_and_every_wait_has_its_row() -> None:
    section = DOC.read_text().partition("## States")[2].partition("## Receipts")[0]
    section, _, waits = section.partition("| `waiting_for` |")
    assert re.findall(r"^\| ([A-Z_]+) \|", section, re.MULTILINE) == list(State)
    told = re.findall(r"^\| ([A-Z_]+) \|", waits, re.MULTILINE)
    assert sorted(told) == sorted({*Waiting, "APPROVALS"} - {""})


def test_the_numbers_are_those_of_the_code() -> None:
    text = " ".join(DOC.read_text().split())
    assert f"deadline of {ATTEMPT_SECONDS:.0f} s ({BATCH_SECONDS:.0f} s for a batch)" in text
    assert f"1 to {BATCH_MAX:,} signed intents" in text
    assert f"nothing happened for {QUIET_SECONDS:.0f} s" in text
    assert f"at most {Limits().streams_at_once} streams" in text


if __name__ == "__main__":
    DOC.write_text(with_table(DOC.read_text()))
