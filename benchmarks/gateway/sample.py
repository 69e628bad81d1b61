"""The body that everything here answers with: 10 KB of JSON, alike a page of trending repositories."""

import json
import random

SIZE_BYTES = 10_240


def _make() -> bytes:
    chance = random.Random(10_240)
    words = ("lantern", "compass", "anvil", "walnut", "pebble", "kettle", "thimble", "orbit", "badger", "harbor")
    rows: list[dict[str, object]] = []
    while True:
        row = {
            "rank": len(rows) + 1,
            "owner": f"{chance.choice(words)}{chance.randrange(10_000)}",
            "name": "-".join(chance.sample(words, 2)),
            "description": " ".join(chance.choices(words, k=8)),
            "stars": chance.randrange(200_000),
            "forks": chance.randrange(20_000),
        }
        if len(json.dumps([*rows, row])) > SIZE_BYTES:
            return json.dumps(rows).ljust(SIZE_BYTES).encode()  # JSON may end with spaces
        rows.append(row)


BODY = _make()
