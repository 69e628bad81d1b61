"""The cache key: what an answer that is the same for everybody may depend on, and nothing else. Pure.

It is the very target that is asked for: a service sees no byte of a request that is not in the key, but `Accept`, which
`Vary` answers for. So nothing that is left out can change what others get.
"""

from urllib.parse import unquote

_SECRET_NAMES = frozenset({"token", "access_token"})


def shared_target(path: str, query: str, parameters: frozenset[str]) -> str | None:
    """The target that stands for all with the same answer: known parameters only, by name; None where none may be kept.

    `path` and `query` as they came, undecoded and accepted by `check_target`; nothing is decoded into what goes out, so
    that two spellings are two keys. Of a parameter given twice both stay, in their order: the service is to judge.
    """
    if not query:
        return path
    kept = []
    for pair in query.split("&"):
        name = pair.partition("=")[0]
        if name in parameters:
            kept.append((name, pair))
        elif unquote(name).strip().lower() in _SECRET_NAMES:
            return None
    kept.sort(key=lambda one: one[0])
    return f"{path}?{'&'.join(pair for _, pair in kept)}" if kept else path
