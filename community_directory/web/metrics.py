"""The page /metrics, which Prometheus reads with a token."""

import secrets

from prometheus_client.exposition import choose_encoder
from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from community_directory import metrics

METRICS_PATH = "/metrics"


def create_metrics_page(token: SecretStr) -> Route:
    """Return the page, which answers requests with this token, and begin to count."""
    registry = metrics.enable()
    expected = token.get_secret_value().encode()

    async def show_metrics(request: Request) -> Response:
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        # The comparison takes as long for a token whose beginning is right.
        is_right = secrets.compare_digest(given.strip().encode(), expected)
        if scheme.lower() != "bearer" or not is_right:
            return Response(status_code=401, headers={"WWW-Authenticate": "Bearer"})
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return Response(encode(registry), headers={"Content-Type": content_type})

    return Route(METRICS_PATH, show_metrics)
