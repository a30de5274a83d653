"""The one table of states: complete, without dead ends, and drawn as it is."""

from pathlib import Path

import pytest

from custody.dev.draw_states import drawn
from custody.domain.states import TRANSITIONS, Event, ImpossibleTransitionError, State, after
from kura.custody.v1 import custody_pb2 as wire

ENDS = {State.COMPLETED, State.BLOCKED, State.REJECTED, State.CANCELLED, State.EXPIRED}


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("event", Event)
def test_every_state_and_event_is_in_the_table_or_raises(state: State, event: Event) -> None:
    if (state, event) in TRANSITIONS:
        assert after(state, event) is TRANSITIONS[state, event]
    else:
        with pytest.raises(ImpossibleTransitionError, match=event):
            after(state, event)


def test_only_ends_have_no_way_on() -> None:
    assert {state for state in State if state.ended} == ENDS | {State.FAILED}


def test_no_event_leads_back_from_a_signature() -> None:
    signed = {State.SIGNED, State.BROADCASTING, State.CONFIRMING}
    for (old, _), new in TRANSITIONS.items():
        if old in signed:
            assert new in signed | {State.COMPLETED, State.ENDING}


def test_the_wire_knows_every_state() -> None:
    names = {name.removeprefix("WITHDRAWAL_STATE_") for name, _ in wire.WithdrawalState.items()}
    assert names == {"UNSPECIFIED", *State}


def test_the_diagram_is_up_to_date() -> None:
    assert Path("docs/states.md").read_text() == drawn()
