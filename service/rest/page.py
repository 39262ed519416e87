"""The page for people at `/`: the files of `service/page` as they lie there, read once at the start.

The page may load nothing but these files, talk to nothing but this service and run no script but its own, which its
Content-Security-Policy makes the browser see to.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

from fastapi import APIRouter, Request, Response

from service.errors import NotFound
from service.rest.native import ErrorResponse

FOLDER = Path(__file__).parent.parent / "page"

_INDEX = "index.html"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)

#: Of every file. A browser keeps it and asks each time whether it is still the same, so that an update shows at once.
HEADERS = {
    "cache-control": "no-cache",
    "content-security-policy": _POLICY,
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


class _File(NamedTuple):
    content: bytes
    media_type: str
    etag: str


def _read(path: Path) -> _File:
    content = path.read_bytes()
    return _File(content, _TYPES[path.suffix], f'"{hashlib.sha256(content).hexdigest()[:32]}"')


_FILES = {path.name: _read(path) for path in sorted(FOLDER.iterdir()) if path.suffix in _TYPES}

#: Every path of the page.
PATHS = ("/", *(f"/page/{name}" for name in _FILES if name != _INDEX))

router = APIRouter(tags=["page"])


@router.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
@router.get("/", summary="The page", response_class=Response, responses={200: {"content": {"text/html": {}}}})
async def page(request: Request) -> Response:
    """Try a text, see why, and watch the convolution read it."""
    return _answer(request, _FILES[_INDEX])


@router.api_route("/page/{name}", methods=["GET", "HEAD"], include_in_schema=False)
@router.get(
    "/page/{name}",
    summary="A file of the page",
    response_class=Response,
    responses={
        200: {"content": {media_type: {} for media_type in ("text/css", "text/javascript", "image/svg+xml")}},
        404: {"model": ErrorResponse},
    },
)
async def file(request: Request, name: str) -> Response:
    """Style, script or icon."""
    if name not in _FILES or name == _INDEX:
        raise NotFound(f"the page has no file {name!r}")
    return _answer(request, _FILES[name])


def _answer(request: Request, file: _File) -> Response:
    headers = HEADERS | {"etag": file.etag}
    known = request.headers.get("if-none-match", "")
    if known == "*" or file.etag in {each.strip().removeprefix("W/") for each in known.split(",")}:
        return Response(status_code=304, headers=headers)
    return Response(file.content, headers=headers, media_type=file.media_type)
