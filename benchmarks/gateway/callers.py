"""Who asks: many callers through one proxy, as phones do through what ends TLS. One alone would meet the limits."""

CALLERS = 250


def request(host: str, path: str, number: int, headers: str = "") -> bytes:
    """The bytes of a GET by the caller of a number; `headers` are whole lines."""
    caller = f"10.0.0.{number % CALLERS + 1}"
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-For: {caller}\r\n{headers}\r\n".encode()
