"""The gRPC server of one process, on the event loop of REST."""

from __future__ import annotations

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from service.dataplane import DataPlane
from service.errors import StartupError
from service.grpc import oip, sentiment
from service.grpc.protos import inference_pb2_grpc, sentiment_pb2_grpc

#: Names under which health is asked for; the empty one is the whole server.
HEALTH_NAMES = ("", oip.SERVICE, sentiment.SERVICE)

#: The methods that are counted one by one.
ROUTES = (*sentiment.ROUTES, *oip.ROUTES)

_SERVING = health_pb2.HealthCheckResponse.SERVING


class Server:
    """Started once, stopped once."""

    def __init__(self, dataplane: DataPlane) -> None:
        settings = dataplane.settings
        self._server = grpc.aio.server(
            options=[
                ("grpc.max_receive_message_length", settings.max_body_bytes),
                ("grpc.max_send_message_length", -1),
                # The workers share the port, which the supervisor keeps from anyone else.
                ("grpc.so_reuseport", 1),
            ]
        )
        self._health = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        inference_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(oip.OpenInference(dataplane), self._server)
        sentiment_pb2_grpc.add_SentimentServicer_to_server(sentiment.Sentiment(dataplane), self._server)
        names = (health.SERVICE_NAME, oip.SERVICE, sentiment.SERVICE, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server)

    async def start(self, host: str, port: int) -> int:
        """Listen; returns the port, which is a free one where 0 was asked for. Raises `StartupError`."""
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            bound = self._server.add_insecure_port(address)
        except RuntimeError as error:
            raise StartupError(f"cannot listen on {address} for gRPC: the port is taken or not ours") from error
        await self._server.start()
        for name in HEALTH_NAMES:
            await self._health.set(name, _SERVING)
        return bound

    async def drain(self) -> None:
        """Say NOT_SERVING from now on, to those who ask and to those who watch; once is enough, more do no harm."""
        await self._health.enter_graceful_shutdown()

    async def stop(self, grace: float) -> None:
        """Take no new calls and give the running ones `grace` seconds."""
        await self._server.stop(grace)
