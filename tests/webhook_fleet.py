"""Twenty endpoints of every temper, and what must have come to each in the end."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.deadlines import eventually_async
from tests.endpoints import (
    NEW_SECRET,
    SECRET,
    Endpoint,
    Endpoints,
    answering,
    breaking,
    hanging,
    now_and_then,
    slow,
    then,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from tests.endpoints import Script

OK = answering(200)


@dataclass(frozen=True, slots=True)
class Fleet:
    """The endpoints by name: those that accept sooner or later, and those that never do unless they are mended."""

    good: Mapping[str, Endpoint]
    bad: Mapping[str, Endpoint]
    trap: Endpoint
    """Where the redirecting one leads; nothing must ever come here."""

    @property
    def all(self) -> dict[str, Endpoint]:
        """The twenty."""
        return {**self.good, **self.bad}

    def write(self, file: Path) -> None:
        """The settings that name them as endpoints of the service, for tasks with the label `fleet`."""
        file.write_text(
            "".join(
                f'[{name}]\nurl = "{endpoint.url}"\nlabels = {{ fleet = "yes" }}\n'
                for name, endpoint in self.all.items()
            )
        )

    def mend(self) -> None:
        """From now on the bad ones accept, too."""
        for endpoint in self.bad.values():
            endpoint.script = OK

    async def until_told(self, endpoints: Mapping[str, Endpoint], tasks: Mapping[str, int], *, within: float) -> None:
        """Wait until each of these endpoints has accepted every event of every task; `tasks` has their last events."""

        chapters = sum(tasks.values())

        async def told() -> bool:
            return all(endpoint.chapters >= chapters for endpoint in endpoints.values())

        try:
            await eventually_async(told, within=within, what="all webhooks")
        except AssertionError as error:
            raise AssertionError(f"{error}; missing: {self.missing(endpoints, tasks)}") from None

    def missing(self, endpoints: Mapping[str, Endpoint], tasks: Mapping[str, int]) -> dict[str, int]:
        """How many tasks each endpoint has not been told of whole."""
        counts = {}
        for name, endpoint in endpoints.items():
            stories = endpoint.stories
            counts[name] = sum(len(stories.get(task_id, ())) < last for task_id, last in tasks.items())
        return {name: count for name, count in counts.items() if count}

    def check_order(self, tasks: Mapping[str, int]) -> None:
        """Whatever was accepted first came in order, and everything verified."""
        for name, endpoint in self.all.items():
            assert endpoint.unverified == [], name
            for task_id, story in endpoint.stories.items():
                assert story == sorted(story), f"{name} heard of {task_id} in the order {story}"
                assert set(story) <= set(range(1, tasks[task_id] + 1))


@asynccontextmanager
async def fleet_of_twenty(*, secrets: tuple[str, ...] = (SECRET, NEW_SECRET)) -> AsyncIterator[Fleet]:
    """The endpoints, running."""
    async with Endpoints() as endpoints:
        trap = await endpoints.start(OK)
        good: dict[str, Script] = {
            **{f"ok_{n}": OK for n in range(7)},
            **{f"slow_{n}": slow(0.02) for n in range(2)},
            **{f"limited_{n}": then(answering(429, retry_after="1"), 2, OK) for n in range(2)},
            "flaky": now_and_then(answering(500), 11, OK),
            "breaks_now_and_then": now_and_then(breaking, 13, OK),
        }
        bad: dict[str, Script] = {
            **{f"hangs_{n}": hanging for n in range(2)},
            **{f"fails_{n}": answering(500) for n in range(2)},
            "redirects": answering(302, location=trap.url),
            "gone": answering(410),
            "breaks": breaking,
        }
        fleet = Fleet(
            good={name: await endpoints.start(script) for name, script in good.items()},
            bad={name: await endpoints.start(script) for name, script in bad.items()},
            trap=trap,
        )
        assert len(fleet.all) == 20
        for endpoint in fleet.all.values():
            endpoint.secrets = secrets
        yield fleet
