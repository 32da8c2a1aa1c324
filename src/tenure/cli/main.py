"""The `tenure` command: one group, its commands in the modules beside this one."""

import click

import tenure
from tenure.cli import evidence, holds, purge, rules, snapshots


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(tenure.__version__, prog_name="tenure")
def cli() -> None:
    """Backups that keep what you must and forget what you must."""


for command in (
    *snapshots.COMMANDS,
    *rules.COMMANDS,
    *purge.COMMANDS,
    *holds.COMMANDS,
    *evidence.COMMANDS,
):
    cli.add_command(command)


def run() -> None:
    """Run the command line."""
    cli(prog_name="tenure")
