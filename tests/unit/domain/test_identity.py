from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.identity import PARTITIONS, derived_task_id, is_task_id, partition_of

if TYPE_CHECKING:
    import uuid


@given(st.text(), st.text())
def test_a_derived_id_is_a_task_id_and_always_the_same(tenant: str, request_id: str) -> None:
    task_id = derived_task_id(tenant, request_id)
    assert is_task_id(task_id)
    assert task_id == derived_task_id(tenant, request_id)


def test_a_derived_id_never_changes_between_releases() -> None:
    # It is the deduplication: another derivation would give a client's repeated submission a second task.
    assert derived_task_id("acme", "order-17") == "94858654-6a4a-50fd-9c9e-7e2266e8f8bc"


@pytest.mark.parametrize(
    ("one", "other"),
    [(("a", "x"), ("b", "x")), (("a", "x"), ("a", "y")), (("a", "bx"), ("ab", "x")), (("", "ax"), ("a", "x"))],
)
def test_another_tenant_or_request_is_another_task(one: tuple[str, str], other: tuple[str, str]) -> None:
    assert derived_task_id(*one) != derived_task_id(*other)


@given(st.uuids())
def test_every_uuid_is_a_task_id_in_one_of_the_partitions(some: uuid.UUID) -> None:
    assert is_task_id(str(some))
    assert partition_of(str(some)) == f"{some.int % PARTITIONS:02x}"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0190d0a8",
        "0190D0A8-6F2E-7C3A-9B1D-2F4E6A8C0B5E",
        "0190d0a86f2e7c3a9b1d2f4e6a8c0b5e",
        "{0190d0a8-6f2e-7c3a-9b1d-2f4e6a8c0b5e}",
        "0190d0a8-6f2e-7c3a-9b1d-2f4e6a8c0b5g",
        "0190d0a8-6f2e-7c3a-9b1d-2f4e6a8c0b5e\n",
        " 0190d0a8-6f2e-7c3a-9b1d-2f4e6a8c0b5e",
        "0190d0a8-6f2e-7c3a-9b1d-2f4e6a8c0b5e0",
        "\u0660190d0a8-6f2e-7c3a-9b1d-2f4e6a8c0b5e",
    ],
)
def test_anything_else_is_no_task_id(text: str) -> None:
    assert not is_task_id(text)
