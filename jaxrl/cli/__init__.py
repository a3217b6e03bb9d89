"""The command line: parsing, and the commands that every experiment shares."""

from jaxrl.cli.command import main
