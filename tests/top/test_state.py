"""What each key changes, without a terminal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.top.state import PANELS, SORTS, Opened, State

IDS = [f"a-{number}" for number in range(30)]
KEYS = ["up", "down", "home", "end", "tab", "enter", "escape", "backspace", "suspend", "page up", "page down"]
KEYS += list("12345 sr/?hjkx9é")


def pressed(*keys: str, ids: list[str] = IDS, page: int = 10) -> State:
    state = State()
    for key in keys:
        state.press(key, ids, page)
    return state


@pytest.mark.parametrize(
    ("keys", "selected"),
    [
        ((), None),
        (("down",), "a-1"),
        (("j", "j", "k"), "a-1"),
        (("up",), "a-0"),
        (("page down",), "a-10"),
        (("page down", "page down", "page down", "page down"), "a-29"),
        (("end", "page up"), "a-19"),
        (("end", "home"), "a-0"),
    ],
)
def test_a_row_is_selected(keys: tuple[str, ...], selected: str | None) -> None:
    assert pressed(*keys).selected == selected


def test_the_selected_row_stays_while_rows_move_and_the_first_takes_its_place_when_it_is_gone() -> None:
    state = pressed("down", "down")
    assert state.place(["a-9", "a-2", "a-0"]) == 1
    state.press("down", ["a-9", "a-2", "a-0"], 10)
    assert state.selected == "a-0"
    assert state.place(["a-9"]) == 0


def test_a_digit_and_tab_change_the_panel_and_begin_it_anew() -> None:
    state = pressed("down", "r", "3")
    assert (state.panel, state.selected, state.reversed) == ("limits", None, False)
    assert [pressed(*["tab"] * count).panel for count in range(6)] == [*PANELS, "agents"]


def test_each_panel_has_orders_of_its_own_that_come_round() -> None:
    state = pressed("s", "s")
    assert state.sort == SORTS["agents"][2]
    state.press("2", [], 5)
    assert state.sort == SORTS["tasks"][0]
    state.press("1", [], 5)
    assert state.sort == SORTS["agents"][2]
    assert pressed(*["s"] * len(SORTS["agents"])).sort == SORTS["agents"][0]


def test_letters_are_of_the_filter_while_it_is_typed() -> None:
    state = pressed("/", "q", "s", "1", "backspace")
    assert (state.filter, state.is_typing, state.panel) == ("qs", True, "agents")
    state.press("enter", IDS, 10)
    assert (state.filter, state.is_typing) == ("qs", False)
    state.press("escape", IDS, 10)
    assert state.filter == ""
    assert pressed("/", "q", "escape").filter == ""


def test_a_row_is_opened_read_and_left() -> None:
    state = pressed("down", "enter")
    assert state.opened == Opened("agents", "a-1")
    state.press("down", IDS, 10)
    state.press("page down", IDS, 10)
    assert (state.scrolled, state.selected) == (11, "a-1")
    state.press("home", IDS, 10)
    assert state.scrolled == 0
    state.press("escape", IDS, 10)
    assert (state.opened, state.selected) == (None, "a-1")
    assert pressed("enter", ids=[]).opened is None


def test_help_is_left_by_any_key() -> None:
    state = pressed("?")
    assert state.is_help
    state.press("x", IDS, 10)
    assert not state.is_help


def test_what_ends_and_what_suspends() -> None:
    assert State().press("q", IDS, 10) == "quit"
    assert State().press("suspend", IDS, 10) == "suspend"
    assert pressed("enter").press("q", IDS, 10) == "quit"
    assert pressed("/").press("q", IDS, 10) != "quit"


@given(keys=st.lists(st.sampled_from(KEYS), max_size=60), rows=st.integers(0, 30), page=st.integers(1, 40))
def test_any_keys_leave_a_state_that_can_be_shown(keys: list[str], rows: int, page: int) -> None:
    state, ids = State(), IDS[:rows]
    for key in keys:
        state.press(key, ids, page)
        assert state.sort in SORTS[state.panel]
        assert state.selected is None or state.selected in ids
        assert 0 <= state.place(ids) < max(1, rows)
        assert state.scrolled >= 0
