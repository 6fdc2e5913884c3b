"""Sends one webhook and says what came of it. Nothing of what the endpoint answers leaves this module.

The address is judged where the connection is made, once DNS has answered: the socket goes to the very address that
was judged, so neither an odd notation nor a name whose address changes gets past.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Self

import aiohttp
from yarl import URL

from shared.domain.webhooks import Answer, Failure

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any

    from shared.domain.addresses import Reach
    from shared.domain.task import Millis
    from worker_service.webhooks.message import Message

MOST_ANSWER_BYTES = 64 << 10
"""So much of an answer is read, to keep the connection. One that goes on costs the connection."""

KEEP_ALIVE_SECONDS = 4.0
"""Many servers close an idle connection after 5 s: a try must not meet it at that moment."""


class ForbiddenAddressError(OSError):
    """The endpoint's address or port is not one that webhooks may go to."""


class Sender:
    """Posts webhooks over connections that are used again. Enter to open, leave to close them."""

    def __init__(self, reach: Reach, *, timeout: float, connections: int, connections_per_host: int) -> None:
        """`timeout`: seconds for a whole try, from the look-up of the name to the end of the answer."""
        self._reach = reach
        self._timeout = timeout
        self._connections = connections
        self._connections_per_host = connections_per_host

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=self._connections,
                limit_per_host=self._connections_per_host,
                keepalive_timeout=KEEP_ALIVE_SECONDS,
                socket_factory=self._socket_to,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            # The timeout around a whole try is the only one.
            timeout=aiohttp.ClientTimeout(),
            auto_decompress=False,
            skip_auto_headers=("accept", "accept-encoding", "user-agent"),
            trust_env=False,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def send(self, message: Message, now: Millis) -> Answer:
        """One try. Whatever the endpoint does, it ends within the timeout, and it raises nothing.

        `now` is what the endpoint's Retry-After is counted from if it names a date.
        """
        try:
            async with asyncio.timeout(self._timeout):
                return await self._post(message, now)
        except TimeoutError:
            return Answer(failure=Failure.TIMEOUT)
        except aiohttp.ClientSSLError:
            return Answer(failure=Failure.TLS)
        except (aiohttp.InvalidURL, ValueError):
            # The library refuses notations of addresses that only resolvers understand.
            return Answer(failure=Failure.ADDRESS)
        except (aiohttp.ClientResponseError, aiohttp.ClientPayloadError):
            return Answer(failure=Failure.BAD_ANSWER)
        except (aiohttp.ClientError, OSError) as error:
            return Answer(failure=Failure.ADDRESS if _is_forbidden(error) else Failure.CONNECTION)

    async def _post(self, message: Message, now: Millis) -> Answer:
        url = URL(message.url)
        async with self._session.post(
            url, data=message.body, headers=message.headers, allow_redirects=False
        ) as response:
            answer = _judged(response.status, response.headers.get("retry-after"), now)
            await _read_away(response)
            return answer

    def _socket_to(self, info: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, _, place = info
        if not self._reach.permits(ipaddress.ip_address(place[0])) or not self._reach.permits_port(place[1]):
            raise ForbiddenAddressError("webhooks do not go to this address")
        return socket.socket(family, kind, protocol)


def _judged(status: int, retry_after: str | None, now: Millis) -> Answer:
    if 200 <= status < 300:
        return Answer(status=status)
    if status == 410:
        return Answer(status=status, failure=Failure.GONE)
    failure = Failure.REDIRECT if 300 <= status < 400 else Failure.STATUS
    return Answer(status=status, failure=failure, retry_after=_millis(retry_after, now) if retry_after else None)


def _millis(retry_after: str, now: Millis) -> Millis | None:
    """How long a Retry-After header asks to wait: in seconds, or until a date. None if it cannot be read."""
    if retry_after.isascii() and retry_after.strip().isdigit():
        return int(retry_after.strip()[:9]) * 1_000
    try:
        return max(round(parsedate_to_datetime(retry_after).timestamp() * 1_000) - now, 0)
    except (ValueError, OverflowError, OSError):
        return None


async def _read_away(response: aiohttp.ClientResponse) -> None:
    """Read a short answer to its end, so that its connection can be used again; break off a long one."""
    left = MOST_ANSWER_BYTES
    while left > 0:
        chunk = await response.content.read(left)
        if not chunk:
            return
        left -= len(chunk)
    response.close()


def _is_forbidden(error: BaseException | None) -> bool:
    """Whether the connector's own error lies at the bottom of what the library raised."""
    while error is not None:
        if isinstance(error, ForbiddenAddressError):
            return True
        error = getattr(error, "os_error", None) or error.__cause__
    return False
