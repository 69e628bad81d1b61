"""The mini-program's account at WeChat: which templates it has."""

import aiohttp
import msgspec

from notifier_service.models import Unreachable
from notifier_service.wechat.token import TokenKeeper
from service_kit.client import fetch
from service_kit.errors import UpstreamFault

TIMEOUT_SECONDS = 4.0
ANSWER_LIMIT_BYTES = 256 * 1024


class _Template(msgspec.Struct):
    id: str = msgspec.field(name="priTmplId")


class _Answer(msgspec.Struct):
    errcode: int = 0
    errmsg: str = ""
    data: list[_Template] = []


async def fetch_templates(session: aiohttp.ClientSession, keeper: TokenKeeper, api_url: str) -> set[str]:
    """The ids of the account's templates (subscribeMessage.getTemplateList, developers.weixin.qq.com).

    Raises Unreachable, DatabaseUnavailable, StatementTimeout. `session` checks statuses.
    """
    token = await keeper.token()
    url = f"{api_url}/wxaapi/newtmpl/gettemplate?access_token={token.secret.get_secret_value()}"
    try:
        reply = await fetch(
            session, "GET", url, timeout_seconds=TIMEOUT_SECONDS, body_limit_bytes=ANSWER_LIMIT_BYTES, log_body=False
        )
        answer = msgspec.json.decode(reply.body, type=_Answer)
    except UpstreamFault as error:
        raise Unreachable(f"wechat: {error.detail}") from None
    except msgspec.DecodeError:
        raise Unreachable("wechat's answer is no list of templates") from None
    if answer.errcode:
        raise Unreachable(f"wechat answered {answer.errcode}: {answer.errmsg[:200]}")
    return {template.id for template in answer.data}
