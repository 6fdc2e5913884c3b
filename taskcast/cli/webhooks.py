"""`taskcast webhooks`: what became of webhooks, and sending them again."""

from __future__ import annotations

import enum
from contextlib import aclosing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from taskcast.cli import words
from taskcast.cli.filters import parse_moment
from taskcast.cli.session import SUCCEEDED, run
from taskcast.cli.table import show_table
from taskcast.v1 import admin_service_pb2 as pb

if TYPE_CHECKING:
    from taskcast.client import Client

_LARGEST_PAGE = 1_000
_TITLES = ("ID", "STATE", "TRIES", "HTTP", "AGE", "NEXT TRY", "URL", "TROUBLE")

webhooks = typer.Typer(
    name="webhooks",
    help="Show what became of webhooks, and send them again.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class State(enum.StrEnum):
    """How a delivery stands."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"

    @property
    def value_in_proto(self) -> pb.WebhookDeliveryState.ValueType:
        """The value of the contract."""
        return pb.WebhookDeliveryState.Value(f"WEBHOOK_DELIVERY_STATE_{self.name}")


@webhooks.command("list")
def list_deliveries(
    context: typer.Context,
    *,
    task: Annotated[str, typer.Option(metavar="ID", help="Of this task.", show_default=False)] = "",
    url: Annotated[str, typer.Option(help="To exactly this endpoint.", show_default=False)] = "",
    state: Annotated[
        list[State] | None,
        typer.Option(metavar="STATE", help=f"In this state ({', '.join(State)}); may be repeated."),
    ] = None,
    limit: Annotated[int, typer.Option(min=0, help="How many at most; 0 shows all.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one delivery a line.")] = False,
) -> None:
    """Show webhook deliveries, newest first."""
    matching = pb.WebhookDeliveryFilter(task_id=task, url=url, states=[s.value_in_proto for s in state or []])

    async def command(client: Client) -> int:
        found, more = await _collect(client, matching, limit)
        if as_json:
            for delivery in found:
                typer.echo(words.to_json(delivery))
        elif found:
            show_table(_TITLES, [_row(delivery) for delivery in found], flexible="TROUBLE")
        else:
            typer.echo("There are no such webhooks.", err=True)
        if more:
            typer.echo(f"There are more: these are the newest {limit}. See --limit.", err=True)
        return SUCCEEDED

    run(context.obj, command)


@webhooks.command()
def redeliver(
    context: typer.Context,
    delivery_id: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="The id of one delivery, whatever its state.")
    ] = None,
    *,
    url: Annotated[str, typer.Option(help="Instead: all that were given up for this endpoint.")] = "",
    since: Annotated[
        datetime | None,
        typer.Option(parser=parse_moment, metavar="TIME", help="Only those given up since then, or so long ago: 2h."),
    ] = None,
) -> None:
    """Send webhooks again: one by its id, or all that were given up for an endpoint."""
    if (delivery_id is None) == (not url):
        raise typer.BadParameter("Say what to send again: the id of a delivery, or --url and an endpoint.")
    if since is not None and not url:
        raise typer.BadParameter("--since goes with --url.")

    async def command(client: Client) -> int:
        if delivery_id is not None:
            await client.redeliver_webhook(delivery_id)
            typer.echo("1 webhook will be sent again.")
        else:
            count = await client.redeliver_failed_webhooks(url, since)
            typer.echo(f"{count} webhook{'' if count == 1 else 's'} will be sent again.")
        return SUCCEEDED

    run(context.obj, command)


async def _collect(
    client: Client, matching: pb.WebhookDeliveryFilter, limit: int
) -> tuple[list[pb.WebhookDelivery], bool]:
    """The deliveries, and whether there are more than so many."""
    found: list[pb.WebhookDelivery] = []
    # One more than is shown tells whether there are more.
    size = min(limit + 1, _LARGEST_PAGE) if limit else _LARGEST_PAGE
    async with aclosing(client.webhook_deliveries(matching, page_size=size)) as deliveries:
        async for delivery in deliveries:
            if limit and len(found) == limit:
                return found, True
            found.append(delivery)
    return found, False


def _row(delivery: pb.WebhookDelivery) -> tuple[str, ...]:
    age = datetime.now(UTC) - delivery.create_time.ToDatetime(tzinfo=UTC)
    return (
        delivery.id,
        pb.WebhookDeliveryState.Name(delivery.state).removeprefix("WEBHOOK_DELIVERY_STATE_"),
        str(delivery.tries),
        str(delivery.last_status_code or ""),
        words.seconds(age),
        words.moment(delivery.next_try_time) if delivery.HasField("next_try_time") else "",
        delivery.url,
        delivery.last_error,
    )
