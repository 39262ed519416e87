"""The API reference at `/docs`: Swagger UI over the OpenAPI document.

Its script and style come with fastapi-offline, since the page of FastAPI itself loads them from other hosts.
"""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from starlette.staticfiles import StaticFiles

from sentiment_conv1d.service.rest import page
from sentiment_conv1d.service.rest.native import ErrorResponse

PATH = "/docs"

_SWAGGER_UI = StaticFiles(packages=[("fastapi_offline", "static")])

#: Its style has icons in it.
_POLICY = page.POLICY.replace("img-src 'self'", "img-src 'self' data:")

router = APIRouter(tags=["operations"])


@router.api_route(PATH, methods=["GET", "HEAD"], include_in_schema=False)
@router.get(
    PATH, summary="Every route, for people", response_class=Response, responses={200: {"content": {"text/html": {}}}}
)
async def documentation(request: Request) -> Response:
    """The OpenAPI document as a page."""
    response = await page.send(request, page.FILES, "reference.html")
    response.headers["content-security-policy"] = _POLICY
    return response


@router.api_route(PATH + "/{name}", methods=["GET", "HEAD"], include_in_schema=False)
@router.get(
    PATH + "/{name}",
    summary="A file of that page",
    response_class=Response,
    responses={200: {"content": {"text/css": {}, "text/javascript": {}}}, 404: {"model": ErrorResponse}},
)
async def file(request: Request, name: str) -> Response:
    """The script and the style of Swagger UI."""
    return await page.send(request, _SWAGGER_UI, name)
