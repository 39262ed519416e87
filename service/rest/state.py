"""Typed access to the state that the application keeps for its routes."""

from __future__ import annotations

from fastapi import Request

from sentiment_conv1d.service.models.state import ServiceState


def state_of(request: Request) -> ServiceState:
    """Return the parts of the worker that handles a request."""
    state: ServiceState = request.app.service_state
    return state
