"""The page at `/` and the API reference at `/docs`: the files of `service/page` and of Swagger UI as they are.

Swagger UI comes with fastapi-offline, since the page of FastAPI itself loads it from another host. The pages may load
nothing but these files, call nothing but this service and run no other script: the browser enforces their
Content-Security-Policy.
"""

from __future__ import annotations

import mimetypes
from dataclasses import replace
from pathlib import Path

from fastapi import APIRouter, Request, Response
from starlette.staticfiles import StaticFiles

from sentiment_conv1d.service.errors import NotFound
from sentiment_conv1d.service.rest import native
from sentiment_conv1d.service.rest.native import ErrorResponse

FOLDER = Path(__file__).parent.parent / "page"

mimetypes.add_type("text/javascript", ".js")  # the system may have another type for it

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

#: Headers of every file. A browser keeps a file and asks each time whether it has changed, so an update shows at once.
_HEADERS = {
    "cache-control": "no-cache",
    "content-security-policy": _POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
}

#: Swagger UI's style has icons in it.
_REFERENCE_POLICY = _POLICY.replace("img-src 'self'", "img-src 'self' data:")

_FILES = StaticFiles(directory=FOLDER)
_SWAGGER_UI = StaticFiles(packages=[("fastapi_offline", "static")])

#: Every path of the page.
PATHS = ("/", *(f"/page/{path.name}" for path in sorted(FOLDER.iterdir()) if path.suffix != ".html"))

router, reference_router = APIRouter(), APIRouter()


@router.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
@router.get("/", summary="The page", response_class=Response, responses={200: {"content": {"text/html": {}}}})
async def page(request: Request) -> Response:
    """Try a text, see why, and watch the convolution read it."""
    return await _send(request, _FILES, "index.html")


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
    return await _send(request, _FILES, name)


@reference_router.api_route("/docs", methods=["GET", "HEAD"], include_in_schema=False)
@reference_router.get(
    "/docs", summary="Every route, for people", response_class=Response, responses={200: {"content": {"text/html": {}}}}
)
async def documentation(request: Request) -> Response:
    """The OpenAPI document as a page."""
    response = await _send(request, _FILES, "reference.html")
    response.headers["content-security-policy"] = _REFERENCE_POLICY
    return response


@reference_router.api_route("/docs/{name}", methods=["GET", "HEAD"], include_in_schema=False)
@reference_router.get(
    "/docs/{name}",
    summary="A file of that page",
    response_class=Response,
    responses={200: {"content": {"text/css": {}, "text/javascript": {}}}, 404: {"model": ErrorResponse}},
)
async def reference_file(request: Request, name: str) -> Response:
    """The script and the style of Swagger UI."""
    return await _send(request, _SWAGGER_UI, name)


PROTOCOL = replace(native.PROTOCOL, tag="page", endpoints={}, routers=(router,))
REFERENCE = replace(PROTOCOL, tag="operations", routers=(reference_router,))


async def _send(request: Request, files: StaticFiles, name: str) -> Response:
    response = await files.get_response(name, request.scope)
    response.headers.update(_HEADERS)
    return response
