"""The commands and the options that hold for all of them."""

from __future__ import annotations

from importlib import metadata
from typing import Annotated

import typer

from taskcast.cli.batch import batch
from taskcast.cli.cancel import cancel
from taskcast.cli.get import get
from taskcast.cli.listing import list_tasks
from taskcast.cli.queues import queues
from taskcast.cli.retry import retry
from taskcast.cli.submit import submit
from taskcast.cli.watch import watch
from taskcast.cli.webhooks import webhooks
from taskcast.cli.workers import workers
from taskcast.client import DEFAULT_ADDRESS

app = typer.Typer(
    name="taskcast",
    help="Submit tasks, look at them, list them, cancel them, and follow them live.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (submit, batch, get, watch, cancel, retry):
    app.command()(command)
app.command("list")(list_tasks)
app.command()(queues)
app.command()(workers)
app.add_typer(webhooks)


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
)
def dev(context: typer.Context) -> None:
    """Run everything on this machine, without servers: record, broker, gateway and worker."""
    # Imported here because it brings both services along, which the other commands have no use for.
    from taskcast.cli.dev import dev as run  # noqa: PLC0415

    embedded = typer.Typer(
        add_completion=False, pretty_exceptions_enable=False, context_settings={"help_option_names": ["-h", "--help"]}
    )
    embedded.command()(run)
    embedded(args=context.args, prog_name="taskcast dev")


def _show_version(wanted: bool) -> None:  # noqa: FBT001  # The value of the option, handed over by typer.
    if wanted:
        try:
            version = metadata.version("taskcast")
        except metadata.PackageNotFoundError:
            version = "(not installed: run from its source)"
        typer.echo(f"taskcast {version}")
        raise typer.Exit


def _check_address(address: str) -> str:
    if "://" in address or not address.strip():
        raise typer.BadParameter(f"{address!r} is no address of a gateway: write host:port, like {DEFAULT_ADDRESS}.")
    return address


@app.callback()
def _options(
    context: typer.Context,
    *,
    server: Annotated[
        str,
        typer.Option(
            envvar="TASKCAST_SERVER",
            metavar="HOST:PORT",
            callback=_check_address,
            help="The gateway to talk to.",
        ),
    ] = DEFAULT_ADDRESS,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version and exit.")
    ] = False,
) -> None:
    del version  # dealt with by its callback
    context.obj = server
