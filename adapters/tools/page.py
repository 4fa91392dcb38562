"""The readable text of an HTML page. Linear in its size, whatever the page holds.

The standard library's HTMLParser takes quadratic time on hostile input, so this reads tags itself:
it knows what is shown and where lines break, and nothing else of HTML.
"""

import html
import re

_HIDDEN = frozenset({"script", "style", "noscript", "template", "svg", "title"})
_BLOCK = re.compile(
    "address|article|aside|blockquote|br|dd|div|dl|dt|fieldset|figcaption|footer|form|h[1-6]|header"
    "|hr|li|main|nav|ol|p|pre|section|table|tr|ul"
)
_TAG = re.compile(r"[a-zA-Z][a-zA-Z0-9]{0,20}")
_TITLE = re.compile(r"<title[^<>]{0,200}>([^<]{0,500})", re.IGNORECASE)
_CLOSERS = {name: re.compile(rf"</{name}\b", re.IGNORECASE) for name in _HIDDEN}
_SPACES = re.compile(r"[ \t\r\f\v\xa0]+")
_LONG_REFERENCE = re.compile(r"&#(\d{8,}|[xX][0-9a-fA-F]{7,});?")


def page_title(page: str) -> str:
    """Return the page's title, or nothing."""
    match = _TITLE.search(page[:100_000])
    return _decoded(match[1]).strip() if match else ""


def page_text(page: str) -> str:
    """Return what a reader of `page` would see, one block per line."""
    lines = "".join(_pieces(page)).split("\n")
    stripped = (_SPACES.sub(" ", line).strip() for line in lines)
    return "\n".join(line for line in stripped if line)


def _pieces(page: str) -> list[str]:
    pieces: list[str] = []
    at = 0
    while (opened := page.find("<", at)) >= 0:
        pieces.append(_text(page[at:opened]))
        if page.startswith("<!--", opened):
            closed = page.find("-->", opened + 4)
            at = closed + 3 if closed >= 0 else len(page)
            continue
        at, piece = _tag(page, opened)
        pieces.append(piece)
    pieces.append(_text(page[at:]))
    return pieces


def _tag(page: str, opened: int) -> tuple[int, str]:
    """Return where to go on after the tag at `opened`, and what it puts into the text."""
    is_end = page.startswith("</", opened)
    name = _TAG.match(page, opened + (2 if is_end else 1))
    if name is None and page[opened + 1 : opened + 2] not in ("!", "?", "/"):
        return opened + 1, "<"
    closed = page.find(">", opened)
    if closed < 0:
        return len(page), ""
    word = name[0].lower() if name else ""
    if word in _HIDDEN and not is_end:
        end = _CLOSERS[word].search(page, closed)
        return (end.start() if end else len(page)), ""
    return closed + 1, "\n" if _BLOCK.fullmatch(word) else ""


def _text(raw: str) -> str:
    return _decoded(raw).replace("\n", " ")


def _decoded(raw: str) -> str:
    """Undo character references; absurdly long numbers stay as they are."""
    if "&" not in raw:
        return raw
    return html.unescape(_LONG_REFERENCE.sub("\ufffd", raw))
