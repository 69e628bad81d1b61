"""A mail server on a real port: takes what it is sent, and keeps it."""

import asyncio
import email
import email.policy
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.message import EmailMessage


class FakeMail:
    """Speaks as much SMTP as a client that logs in and sends needs."""

    def __init__(self) -> None:
        self.taken: list[EmailMessage] = []
        self.port = 0
        self.refuses = False
        self.hangs = asyncio.Event()
        """Set: connections get no answer."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        try:
            if self.hangs.is_set():
                await reader.read()
                return
            writer.write(b"220 fake\r\n")
            while line := (await reader.readline()).decode().strip():
                command = line.split(" ")[0].upper()
                if command == "DATA":
                    writer.write(b"354 go on\r\n")
                    raw = await reader.readuntil(b"\r\n.\r\n")
                    message = email.message_from_bytes(raw[:-5], policy=email.policy.default)
                    assert isinstance(message, EmailMessage)
                    self.taken.append(message)
                    writer.write(b"250 taken\r\n")
                elif command == "EHLO":
                    writer.write(b"250-fake\r\n250 AUTH PLAIN LOGIN\r\n")
                elif command == "AUTH":
                    writer.write(b"235 welcome\r\n")
                elif command == "MAIL" and self.refuses:
                    writer.write(b"554 no\r\n")
                elif command == "QUIT":
                    writer.write(b"221 bye\r\n")
                    return
                else:
                    writer.write(b"250 ok\r\n")
        finally:
            writer.close()

    def url(self, *, to: str = "oncall@example.org") -> str:
        """As ALERT_URLS has it."""
        return f"mailto://wegit:MailSecret@127.0.0.1:{self.port}?smtp=127.0.0.1&from=wegit@example.org&to={to}&mode=insecure"


@asynccontextmanager
async def fake_mail() -> AsyncIterator[FakeMail]:
    """A mail server that listens while the context is open."""
    mail = FakeMail()
    server = await asyncio.start_server(mail.serve, "127.0.0.1", 0)
    mail.port = server.sockets[0].getsockname()[1]
    try:
        yield mail
    finally:
        server.close()
