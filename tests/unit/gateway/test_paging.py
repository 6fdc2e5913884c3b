"""Page sizes and page tokens: any gateway reads what another gave, for the same listing and for no other."""

from __future__ import annotations

import base64
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_service.faults import InvalidRequestError
from gateway_service.paging import page_size, page_token, read_page_token
from shared.ports import Place

places = st.builds(Place, st.integers(0, 2**62), st.uuids().map(str))


def test_a_size_is_bounded_and_has_a_default() -> None:
    assert [page_size(asked) for asked in (0, 1, 1_000, 5_000)] == [50, 1, 1_000, 1_000]


def test_a_negative_size_is_refused() -> None:
    with pytest.raises(InvalidRequestError) as refused:
        page_size(-1)
    assert refused.value.violations[0].field == "page_size"


def test_the_last_page_has_no_token_and_no_token_is_the_first_page() -> None:
    assert page_token(None, b"list") == ""
    assert read_page_token("", b"list") is None


@given(places, st.binary())
def test_a_token_leads_back_to_its_place(place: Place, listing: bytes) -> None:
    assert read_page_token(page_token(place, listing), listing) == place


@given(places)
def test_a_token_can_stand_in_a_url_as_it_is(place: Place) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_-]{44}", page_token(place, b"list"))


@given(places)
def test_a_token_of_another_listing_is_refused(place: Place) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        read_page_token(page_token(place, b"one"), b"other")
    assert refused.value.violations[0].field == "page_token"


@given(st.one_of(st.text(min_size=1), st.binary(min_size=1).map(lambda raw: base64.urlsafe_b64encode(raw).decode())))
def test_whatever_else_is_refused(token: str) -> None:
    with pytest.raises(InvalidRequestError):
        read_page_token(token, b"list")


@given(places, st.integers(0, 32), st.integers(1, 255))
def test_a_token_that_was_changed_is_refused(place: Place, position: int, change: int) -> None:
    content = bytearray(base64.urlsafe_b64decode(page_token(place, b"list")))
    content[position] ^= change
    with pytest.raises(InvalidRequestError):
        read_page_token(base64.urlsafe_b64encode(content).decode(), b"list")
