"""``/links/…``: the links of alerts. To open one shows what it would change; its form does it, once."""

import asyncio
import datetime as dt
import os
import time
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qs

import msgspec
import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from tallystick.actors.errors import Unanswered
from tallystick.actors.runtime.intake import Asker
from tallystick.approvals.changes import Change, change_of
from tallystick.approvals.links import Forged, Link, key_of, link_of
from tallystick.approvals.orders import ORDERS, message_of, words_of
from tallystick.approvals.used import Use, UsedLinks
from tallystick.config.outgoing import ApprovalLinks, NoSecret
from tallystick.delegation.identity import identity
from tallystick.events.decide.permissions import Caller
from tallystick.http.access import Access
from tallystick.http.elsewhere import Elsewhere
from tallystick.http.failures import Failures
from tallystick.http.identity import BY, Identity, address_of, put_identity
from tallystick.http.link_html import change_of as change_html
from tallystick.http.link_html import form_of, note_of, page
from tallystick.http.served import Served
from tallystick.http.statuses import ABORTED, retry_after, status_of

BODY_MAX: Final = 16_384
ASK_SECONDS: Final = 5.0
_LATER: Final = (429, 503)
_TIGHTENS_ONLY: Final = 0
"""The ceiling of a recipient that may loosen nothing."""
_AWAY: Final = "The fleet gives no answer now. Open the link again in a moment; nothing was changed by this."
_UNKNOWN: Final = "The fleet has given no answer yet. Open the link again in a moment: it says whether it was done."
log = structlog.get_logger("tallystick.links")


class _Refused(Exception):
    """A link may not be used; ``code`` for counts and logs, a title and words for its reader."""

    def __init__(self, code: str, title: str, words: str, status: int, to: str | None = None) -> None:
        super().__init__(words)
        self.code, self.title, self.words, self.status, self.to = code, title, words, status, to


class LinkPages:
    """The pages of one fleet's links. ``stopping`` is set when the server begins to stop."""

    def __init__(self, fleet: Served, access: Access, elsewhere: Elsewhere | None, stopping: asyncio.Event) -> None:
        self._fleet, self._access, self._elsewhere, self._stopping = fleet, access, elsewhere, stopping
        self._failures = Failures(time.monotonic)
        self._uses = UsedLinks(fleet.store.read)
        self._id: str | None = None

    async def show(self, request: Request) -> Response:
        """``GET``: what it would change. Nothing is changed by that, by a preview neither."""
        try:
            link = await self._link(request)
            change = await change_of(link, self._ask)
        except _Refused as refusal:
            return self._refuse(request, refusal)
        except Unanswered:
            return _not_now()
        if request.method == "GET":
            self._access.measures.link("shown")
        return self._page(link, change)

    async def use(self, request: Request) -> Response:
        """``POST``: do it, unless it has changed since it was shown."""
        try:
            body = await _body(request)
            link = await self._link(request)
            if self._elsewhere is not None:
                put_identity(request.scope, Identity(BY))
                message = msgspec.json.encode(message_of(link))
                sent = await self._elsewhere.answer(request, body, message, self._stopping)
                if sent is not None:
                    return sent if _is_page(sent) else _not_now(_UNKNOWN)
            change = await change_of(link, self._ask)
            seen = parse_qs(body.decode(errors="replace"), keep_blank_values=True).get("seen", [""])[0]
            if change.problem is not None or seen != change.seen:
                return self._page(link, change, changed=True)
            return await self._done(request, link)
        except _Refused as refusal:
            return self._refuse(request, refusal)
        except Unanswered:
            return _not_now()
        except ClientDisconnect:
            return Response(status_code=ABORTED)

    # --- what is shown ------------------------------------------------------------------------------------------------

    def _page(self, link: Link, change: Change, *, changed: bool = False) -> Response:
        words = words_of(link)
        title = words[:1].upper() + words[1:]
        if change.problem is not None:
            return page(title, [f"There is nothing to do: {change.problem}."], 409)
        note = note_of("This is how it stands now, and not what was shown before. Look again.") if changed else ""
        body = note + change_html(change) + form_of(change, words, link.to, _moment(link.expires))
        return page(title, [f"An answer to the alert {link.alert}."], 409 if changed else 200, body)

    def _refuse(self, request: Request, refusal: _Refused) -> Response:
        seconds = self._failures.note(address_of(request.scope))
        if seconds is None:
            self._access.note(refusal.code, request.scope, refusal.to)
            return page(refusal.title, [refusal.words], refusal.status)
        self._access.note("too_many_failures", request.scope, refusal.to)
        words = "Too many links that do not work were opened from this address."
        return page("Try again later", [words], 429, headers={"retry-after": str(seconds)})

    # --- what is done -------------------------------------------------------------------------------------------------

    async def _done(self, request: Request, link: Link) -> Response:
        config = self._access.config
        loosens = config.approval_links is not None and link.to in config.approval_links.may_loosen
        caller = Caller("operator", approve_up_to_nanos=None if loosens else _TIGHTENS_ONLY)
        peer = msgspec.json.encode({"address": address_of(request.scope), "key": f"link of {link.alert}"})
        by = link.to if link.to.isprintable() else "link"
        try:
            answer = await self._fleet.ask_async(message_of(link), by, ASK_SECONDS, asker=Asker(peer, None, caller))
        except Unanswered:
            return _not_now(_UNKNOWN)
        if "ok" in answer:
            self._access.measures.link("done")
            log.info("link_used", alert=link.alert, order=link.order, to=link.to)
            return page("Done", [f"{words_of(link)}: done.", "It is in the log of the fleet under your name."], 200)
        error: Mapping[str, Any] = answer["error"]
        if error["code"] == "idempotency_conflict":
            raise _used(link, None)
        self._access.measures.link("refused")
        log.warning("link_refused", alert=link.alert, order=link.order, to=link.to, code=error["code"])
        status = status_of(error)
        seconds = retry_after(error, status)
        headers = None if seconds is None else {"retry-after": str(seconds)}
        return page("It was not done", [f"The fleet refuses it: {error['detail']}."], status, headers=headers)

    async def _ask(self, message: Mapping[str, Any]) -> Mapping[str, Any]:
        """An answer that says how it stands, or why the fleet would not do it.

        Raises:
            Unanswered: the fleet answers nothing now.
        """
        answer: Mapping[str, Any] = await self._fleet.ask_async(message, BY, ASK_SECONDS)
        if "error" in answer and status_of(answer["error"]) in _LATER:
            raise Unanswered(answer["error"]["detail"])
        return answer

    # --- which link it is ---------------------------------------------------------------------------------------------

    async def _link(self, request: Request) -> Link:
        """The link that is opened.

        Raises:
            _Refused: it may not be used, or not any more.
            StoreError: the log cannot be read.
        """
        config = self._access.config
        settings = config.approval_links
        link = _read(request.path_params["link"], settings)
        if link.fleet != await self._fleet_id():
            words = "This link is for another fleet, and not for the one of this server."
            raise _Refused("link_foreign", "Another fleet's link", words, 404, link.to)
        if self._access.now().timestamp() >= link.expires:
            words = f"It worked until {_moment(link.expires)}: links work for a day."
            raise _Refused("link_expired", "This link has expired", words, 410, link.to)
        use = await asyncio.to_thread(self._uses.find, link)
        if use is not None:
            raise _used(link, use)
        assert settings is not None, "without settings, no link is read"
        withdrawn = ORDERS[link.order].loosens and link.to not in settings.may_loosen
        if withdrawn or link.to not in config.notifications:
            words = f"{link.to} may not do this by a link any more: the configuration of the fleet was changed."
            raise _Refused("link_revoked", "This link was withdrawn", words, 403, link.to)
        return link

    async def _fleet_id(self) -> str:
        if self._id is None:
            self._id = await asyncio.to_thread(identity, self._fleet.store)
        return self._id


def _not_now(words: str = _AWAY) -> Response:
    return page("Not now", [words], 503, headers={"retry-after": "1"})


def _used(link: Link, use: Use | None) -> _Refused:
    whose = "" if use is None else f" by {use.by} at {_moment(int(use.at.timestamp()))} (position {use.position})"
    words = f"It was done{whose}, by a link of the alert {link.alert}. Each order works once, for all its recipients."
    return _Refused("link_used", "This link was used", words, 410, link.to)


def _read(text: str, settings: ApprovalLinks | None) -> Link:
    words = "It is not complete, or was changed, or it was signed with a key that this server does not use now."
    unknown = _Refused("link_invalid", "This link is not valid", words, 404)
    if settings is None:
        raise unknown
    try:
        link = link_of(text, key_of(settings, os.environ))
    except NoSecret as error:
        log.warning("links_not_read", reason=str(error))
        raise unknown from None
    except Forged:
        raise unknown from None
    if link.order not in ORDERS:
        raise unknown
    return link


async def _body(request: Request) -> bytes:
    """What was posted, up to a bound."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_MAX:
            return b""
    return body


def _is_page(response: Response) -> bool:
    return response.headers.get("content-type", "").startswith("text/html")


def _moment(seconds: int) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%d %H:%M:%SZ")
