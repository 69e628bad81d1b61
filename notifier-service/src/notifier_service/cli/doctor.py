"""The command doctor."""

from notifier_service.cli.connection import fail, run
from notifier_service.cli.output import Json, write_json, write_table
from notifier_service.doctor import Doctor


def doctor(json: Json = False) -> None:
    """Look at database, queue and channels: what ails them? Status 1 when something does not work."""
    findings = run(lambda to: Doctor(to.settings, to.database).look())
    if json:
        write_json(findings)
    else:
        write_table(("CHECK", "STATUS", "FOUND"), [(one.check, one.status, one.detail) for one in findings], empty="")
    failed = [one.check for one in findings if one.status == "failed"]
    if failed:
        raise fail(f"does not work: {', '.join(failed)}")
