"""The page for people at `/`: the files of `service/page` as they are.

The page may load nothing but these files, talk to nothing but this service and run no script but its own, which its
Content-Security-Policy makes the browser see to.
"""

from __future__ import annotations

import mimetypes
from pathlib import Path

from fastapi import APIRouter, Request, Response
from starlette.staticfiles import StaticFiles

from sentiment_conv1d.service.errors import NotFound
from sentiment_conv1d.service.rest.native import ErrorResponse

FOLDER = Path(__file__).parent.parent / "page"

mimetypes.add_type("text/javascript", ".js")  # what it is depends on the system otherwise

POLICY = "; ".join(
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
    "content-security-policy": POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
}

FILES = StaticFiles(directory=FOLDER)

#: Every path of the page.
PATHS = ("/", *(f"/page/{path.name}" for path in sorted(FOLDER.iterdir()) if path.suffix != ".html"))

router = APIRouter(tags=["page"])


@router.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
@router.get("/", summary="The page", response_class=Response, responses={200: {"content": {"text/html": {}}}})
async def page(request: Request) -> Response:
    """Try a text, see why, and watch the convolution read it."""
    return await send(request, FILES, "index.html")


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
    if name.endswith(".html"):
        raise NotFound(f"the page has no file {name!r}")
    return await send(request, FILES, name)


async def send(request: Request, files: StaticFiles, name: str) -> Response:
    """One of the files, with the headers of them all."""
    response = await files.get_response(name, request.scope)
    response.headers.update(HEADERS)
    return response
