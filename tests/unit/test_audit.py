"""The audit log's chain: whatever is changed in it, the first bad row is named."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.domain.audit import NOTHING_BEFORE, AuditEvent, BrokenChainError, verify


def chain(length: int) -> list[AuditEvent]:
    events: list[AuditEvent] = []
    for position in range(1, length + 1):
        events.append(
            AuditEvent(
                position=position,
                time=1_700_000_000_000 + position,
                kind="WITHDRAWAL",
                event="APPROVED",
                actor="worker",
                subject=f"withdrawals/{position:064x}",
                details={"state": "QUEUED"},
                previous=events[-1].hash if events else NOTHING_BEFORE,
            )
        )
    return events


def rows(events: list[AuditEvent]) -> list[bytes]:
    return [event.encode() for event in events]


def first_bad(data: list[bytes]) -> int:
    with pytest.raises(BrokenChainError) as caught:
        verify(data)
    return caught.value.row


def test_an_untouched_log_ends_with_its_head() -> None:
    events = chain(5)
    assert verify(rows(events)) == (5, events[-1].hash)
    assert verify([]) == (0, NOTHING_BEFORE)


@pytest.mark.parametrize(
    "change",
    [
        {"actor": "someone"},
        {"time": 1},
        {"details": {"state": "BLOCKED"}},
        {"subject": "withdrawals/other"},
        {"kind": "ORDER"},
        {"event": "CANCEL"},
    ],
)
def test_a_changed_row_is_told_by_the_one_after_it(change: dict[str, object]) -> None:
    events = chain(5)
    events[2] = replace(events[2], **change)  # type: ignore[arg-type]
    assert first_bad(rows(events)) == 4
    with pytest.raises(BrokenChainError, match="hash of row 3: one of them changed"):
        verify(rows(events))


def test_a_changed_row_with_its_number_or_link_changed_is_told_itself() -> None:
    events = chain(5)
    assert first_bad(rows([*events[:2], replace(events[2], previous="1" * 64)])) == 3
    assert first_bad(rows([*events[:2], replace(events[2], position=9)])) == 3


def test_a_row_taken_out_put_in_twice_or_moved_is_named() -> None:
    events = chain(5)
    assert first_bad(rows(events[:2] + events[3:])) == 3
    assert first_bad(rows([*events[:3], events[2], *events[3:]])) == 4
    assert first_bad(rows([events[0], events[2], events[1], *events[3:]])) == 2
    assert first_bad(rows(events[1:])) == 1


@pytest.mark.parametrize("number", ["+3", "03", "3_0", "٣", " 3"])
def test_a_number_has_one_spelling(number: str) -> None:
    events = rows(chain(3))
    events[2] = events[2].replace(b'"position":"3"', f'"position":"{number}"'.encode())
    assert first_bad(events) == 3


@given(st.binary(max_size=300))
def test_rows_that_are_no_events_are_named(data: bytes) -> None:
    assert first_bad([*rows(chain(2)), data]) == 3


@given(st.integers(0, 3), st.data())
def test_a_flipped_byte_is_found(row: int, data: st.DataObject) -> None:
    events = rows(chain(5))
    place = data.draw(st.integers(0, len(events[row]) - 1))
    events[row] = events[row][:place] + bytes([events[row][place] ^ 1]) + events[row][place + 1 :]
    assert first_bad(events) in {row + 1, row + 2}
