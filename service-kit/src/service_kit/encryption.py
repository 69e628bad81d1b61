"""Encryption of what the database keeps for us and nobody may read there: Fernet under keys made of SECRET_KEY."""

import base64
import hmac
from functools import cached_property
from typing import TYPE_CHECKING

from pydantic import SecretStr

if TYPE_CHECKING:
    from cryptography.fernet import Fernet


class Undecipherable(Exception):
    """What is stored was not encrypted with this SECRET_KEY for this purpose, or was changed since."""


class Encryption:
    """Encrypts for one purpose: its key is derived from SECRET_KEY and the purpose's name (HKDF-SHA256)."""

    def __init__(self, secret_key: SecretStr, purpose: str) -> None:
        self._secret_key = secret_key
        self._purpose = purpose

    def encrypt(self, text: str) -> bytes:
        """The text, readable only with the same key and purpose; another result each time."""
        return self._fernet.encrypt(text.encode())

    def decrypt(self, encrypted: bytes | memoryview) -> str:
        """What was encrypted. Raises Undecipherable."""
        from cryptography.fernet import InvalidToken

        try:
            return self._fernet.decrypt(bytes(encrypted)).decode()
        except InvalidToken:
            raise Undecipherable(f"not encrypted with this SECRET_KEY as one of the {self._purpose}") from None

    def digest(self, text: str) -> bytes:
        """The same for the same text, and no way back to it: to find again what is stored encrypted."""
        return hmac.digest(self._derive("digests of "), text.encode(), "sha256")

    @cached_property
    def _fernet(self) -> "Fernet":
        # Imported late: the library takes 7 MB, which only those who store secrets need to spend.
        from cryptography.fernet import Fernet

        return Fernet(base64.urlsafe_b64encode(self._derive("")))

    def _derive(self, use: str) -> bytes:
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        derive = HKDF(SHA256(), 32, salt=None, info=f"wegit {use}{self._purpose}".encode()).derive
        return derive(self._secret_key.get_secret_value().encode())
