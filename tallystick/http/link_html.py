"""The pages of links: plain HTML that needs no script, at any width."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

from starlette.responses import Response

from tallystick.approvals.changes import Change

STYLE: Final = """
:root { color-scheme: light dark; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 40rem; padding: 1.25rem 1rem; font: 1rem/1.5 system-ui, sans-serif;
  overflow-wrap: anywhere; }
h1 { font-size: 1.35rem; line-height: 1.25; margin: 0 0 0.75rem; }
h2 { font-size: 1rem; margin: 1.5rem 0 0.25rem; }
dl { margin: 0; border: 1px solid #8888; border-radius: 0.5rem; }
dl > div { padding: 0.6rem 0.8rem; border-top: 1px solid #8888; }
dl > div:first-child { border-top: 0; }
dt { font-weight: 600; }
dd { margin: 0; }
.note { border-left: 0.25rem solid #c80; padding-left: 0.75rem; }
button { font: inherit; font-weight: 600; min-height: 2.75rem; width: 100%; margin-top: 1.25rem; border: 0;
  border-radius: 0.5rem; background: #0b57d0; color: #fff; cursor: pointer; }
button:focus-visible { outline: 3px solid #f90; outline-offset: 2px; }
small { display: block; margin-top: 1.25rem; }
"""
_HASH: Final = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
HEADERS: Final[Mapping[str, str]] = {
    "content-security-policy": (
        f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    # With none at all, a browser would not say that the form is of this page.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "x-robots-tag": "noindex, nofollow",
    "cache-control": "no-store",
}


def page(
    title: str, paragraphs: Sequence[str], status: int, body: str = "", headers: Mapping[str, str] | None = None
) -> Response:
    """A page; ``title`` and ``paragraphs`` are text, ``body`` is HTML."""
    texts = "".join(f"<p>{escape(one)}</p>" for one in paragraphs)
    html = (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)} – tallystick</title><style>{STYLE}</style></head>"
        f"<body><main><h1>{escape(title)}</h1>{texts}{body}</main></body></html>\n"
    )
    return Response(html, status, {**HEADERS, **(headers or {})}, "text/html; charset=utf-8")


def change_of(change: Change) -> str:
    """What would change, as a list."""
    rows = "".join(
        f"<div><dt>{escape(row.what)}</dt><dd>now: {escape(row.now)}</dd><dd>then: {escape(row.then)}</dd></div>"
        for row in change.rows
    )
    facts = "".join(f"<div><dt>{escape(what)}</dt><dd>{escape(value)}</dd></div>" for what, value in change.facts)
    beside = f"<h2>How it stands</h2><dl>{facts}</dl>" if facts else ""
    return f"<h2>What changes</h2><dl>{rows}</dl>{beside}"


def form_of(change: Change, words: str, to: str, until: str) -> str:
    """The button that does it. It is the only way: to open the page changes nothing."""
    return (
        f'<form method="post"><input type="hidden" name="seen" value="{escape(change.seen)}">'
        f"<button>{escape(words[:1].upper() + words[1:])}</button></form>"
        f"<small>This link is for {escape(to)}, works once, and until {escape(until)}. What is done by it is recorded"
        f" under that name.</small>"
    )


def note_of(text: str) -> str:
    """A remark that is not to be missed."""
    return f'<p class="note">{escape(text)}</p>'
