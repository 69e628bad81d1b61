"""`python -m notifier_service.cli`, and the console script `notifier`."""

from notifier_service.cli.app import cli

if __name__ == "__main__":
    cli(prog_name="notifier")
