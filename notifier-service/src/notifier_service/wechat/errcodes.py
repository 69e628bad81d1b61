"""What WeChat's error codes mean for a message that was to be sent. Pure.

Codes: subscribeMessage.send and the global return codes (developers.weixin.qq.com). Those of the global list that say
nothing about the message itself are passing: better tried again than lost.
"""

from typing import Literal

Meaning = Literal["sent", "token", "used_up", "no_user", "template", "limited", "passing", "refused"]
"""What to do next:

- sent: nothing, it is on its way
- token: fetch another access token, then try again; does not count as a try
- used_up: the user has no consent left (or took it back): the ledger is set to zero, nothing more is sent
- no_user: nobody has this openid here: the endpoint is disabled
- template: this template, its page or its fields are wrong: given up, and nothing more is sent with it
- limited: the quota is used up: later, and it does not count as a try
- passing: WeChat itself has a problem: later
- refused: the message or the account is not allowed: given up
"""

_MEANINGS: dict[int, Meaning] = {
    0: "sent",
    -1: "passing",  # busy
    40001: "token",  # not the latest token
    40014: "token",  # no token
    41001: "token",  # missing
    42001: "token",  # expired
    42007: "token",  # withdrawn
    43101: "used_up",
    43107: "used_up",  # the user switched the account's messages off altogether
    40003: "no_user",
    40037: "template",
    41028: "template",
    41029: "template",
    41030: "template",  # no such page
    43104: "template",
    47001: "template",  # not JSON
    47003: "template",  # a field does not fit; errmsg names it
    45009: "limited",  # calls of the day
    45011: "limited",  # calls of the minute
    45047: "limited",
    40013: "refused",  # no such appid
    40125: "refused",  # wrong secret
    40164: "refused",  # this server's address is not on the list
    40243: "refused",  # the secret is frozen
    43116: "refused",  # the template was taken from the account
    45168: "refused",  # the message has words that are not allowed
    48001: "refused",  # the account may not use this interface
    50002: "refused",  # the account is restricted
    61004: "refused",
    89503: "refused",
    89506: "refused",
    89507: "refused",
}
RETRY_AFTER_SECONDS = {45009: 3600.0, 45011: 60.0, 45047: 60.0}


def meaning(errcode: int) -> Meaning:
    """What this code means; one that is not known here is taken for passing."""
    return _MEANINGS.get(errcode, "passing")
