from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shared.domain.breaker import CLOSED, Breaker, BreakerTerms, admit, after_failure, after_success

TERMS = BreakerTerms(threshold=3, first_pause=1_000, longest_pause=8_000, probe_limit=5_000, probe_look=100)
NOW = 1_000_000


def failed(times: int, breaker: Breaker = CLOSED, now: int = NOW) -> Breaker:
    for _ in range(times):
        breaker = after_failure(breaker, now, TERMS)
    return breaker


def test_it_stays_closed_below_the_threshold() -> None:
    assert admit(failed(2), NOW, TERMS)[1] is None


def test_it_opens_at_the_threshold() -> None:
    assert admit(failed(3), NOW, TERMS)[1] == NOW + 1_000


def test_after_the_pause_one_probe_goes_and_the_others_wait() -> None:
    probing, wait = admit(failed(3), NOW + 1_000, TERMS)
    assert wait is None
    assert admit(probing, NOW + 1_001, TERMS)[1] == NOW + 1_101
    assert admit(probing, NOW + 5_950, TERMS)[1] == NOW + 6_000


def test_a_probe_that_is_never_heard_of_again_lets_another_go() -> None:
    probing, _ = admit(failed(3), NOW + 1_000, TERMS)
    assert admit(probing, NOW + 6_000, TERMS)[1] is None


def test_a_probe_that_succeeds_closes_it() -> None:
    probing, _ = admit(failed(3), NOW + 1_000, TERMS)
    assert after_success(probing) == CLOSED


def test_a_probe_that_fails_opens_it_for_twice_as_long_up_to_a_limit() -> None:
    breaker, now, pauses = failed(3), NOW, []
    for _ in range(6):
        pauses.append(breaker.open_until - now)
        now = breaker.open_until
        breaker = after_failure(admit(breaker, now, TERMS)[0], now, TERMS)
    assert pauses == [1_000, 2_000, 4_000, 8_000, 8_000, 8_000]


def test_tries_that_were_under_way_when_it_opened_do_not_keep_it_open_for_longer() -> None:
    assert admit(failed(10), NOW, TERMS)[1] == NOW + 1_000


def test_one_request_for_patience_is_honoured_at_once() -> None:
    breaker = after_failure(CLOSED, NOW, TERMS, asked=700)
    assert admit(breaker, NOW + 699, TERMS)[1] == NOW + 700
    assert admit(breaker, NOW + 700, TERMS)[1] is None


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 20_000)), max_size=40))
def test_whatever_happens_it_never_stays_shut_for_longer_than_its_longest_pause(story: list[tuple[bool, int]]) -> None:
    breaker, now = CLOSED, NOW
    for succeeds, passes in story:
        now += passes
        breaker, wait = admit(breaker, now, TERMS)
        assert wait is None or wait - now <= TERMS.longest_pause
        if wait is None:
            breaker = after_success(breaker) if succeeds else after_failure(breaker, now, TERMS)
