"""The paths of the service: a FastAPI application over a generator."""

from __future__ import annotations

import importlib.util
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import gansmith
from gansmith.deploy.answers import MEDIA_TYPES, choose_format, encode
from gansmith.deploy.batching import QueueFull
from gansmith.deploy.gate import Gate
from gansmith.deploy.gauges import Gauges
from gansmith.deploy.service import Service
from gansmith.errors import ConfigError, GansmithError, MissingExtra
from gansmith.sampling.generator import MOST_SEED, Samples

if TYPE_CHECKING:
    from fastapi import FastAPI

__all__ = ["make_app"]

SEEDS = r"^-?[0-9]{1,18}(,-?[0-9]{1,18})+$"
PARAMETERS = {
    "/v1/sample": ("seed", "label", "num", "truncation", "format"),
    "/v1/interpolate": ("seeds", "label", "frames", "format"),
}
PATHS = (*PARAMETERS, "/v1/info", "/health", "/metrics", "/openapi.json", "/docs")
ASSETS = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css", "favicon.png": "image/png"}
START = """
SwaggerUIBundle({url: "openapi.json", dom_id: "#page", deepLinking: true, validatorUrl: null, layout: "BaseLayout",
  presets: [SwaggerUIBundle.presets.apis, SwaggerUIBundle.SwaggerUIStandalonePreset]})
"""
PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>gansmith serve</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="docs/favicon.png"><link rel="stylesheet" href="docs/swagger-ui.css"></head>
<body><div id="page"></div><script src="docs/swagger-ui-bundle.js"></script><script src="docs/start.js"></script>
</body></html>
"""
POLICY = (  # the page loads nothing from other hosts
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "connect-src 'self'; frame-ancestors 'none'"
)


def make_app(service: Service) -> FastAPI:
    """Return the ASGI application of a service.

    Raises:
        MissingExtra: FastAPI or prometheus_client is not installed.
    """
    fastapi = _require_fastapi()
    gauges = Gauges(lambda: service.batcher.num_waiting)
    service.batcher.report = gauges.add_pass

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        yield
        service.batcher.close(service.settings.timeout_seconds)

    app: FastAPI = fastapi.FastAPI(
        title="gansmith serve",
        version=gansmith.__version__,
        description="Images of a trained generator. Each seed gives one image, the same in every request.",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    _add_images(app, service)
    _add_facts(app, service, gauges)
    _add_docs(app)
    _add_errors(app)
    app.add_middleware(Gate, token=service.settings.token, parameters=PARAMETERS, paths=PATHS, gauges=gauges)
    return app


def _add_images(app: FastAPI, service: Service) -> None:
    """Add /v1/sample and /v1/interpolate."""
    fastapi = _require_fastapi()
    settings = service.settings
    label_query = fastapi.Query(None, max_length=200, description="class name or number")
    format_query = fastapi.Query(None, description="default: the header Accept decides")
    accept_header = fastapi.Header("*/*", include_in_schema=False)

    async def answer(samples: Samples, kind: str, *, in_a_row: bool = False) -> Any:
        body = await fastapi.concurrency.run_in_threadpool(encode, samples, kind, in_a_row=in_a_row)
        return fastapi.Response(body, media_type=MEDIA_TYPES[kind], headers={"Vary": "Accept"})

    def choose(wanted: str | None, accept: str, *known: str) -> str:
        kind = choose_format(wanted, accept, known)
        if kind is None:
            types = ", ".join(MEDIA_TYPES[each] for each in known)
            raise fastapi.HTTPException(406, f"Accept: got {accept[:40]!r}; expected one of {types}")
        return kind

    @app.get("/v1/sample", **_describe(service, "png", "npz"))
    async def sample(
        seed: int = fastapi.Query(0, ge=-MOST_SEED, le=MOST_SEED, description="seed of the first image"),
        label: str | None = label_query,
        num: int = fastapi.Query(1, ge=1, le=settings.most_images, description="number of images"),
        truncation: float = fastapi.Query(1.0, gt=0, le=1, description="smaller: more typical"),
        format: Literal["png", "npz"] | None = format_query,
        accept: str = accept_header,
    ) -> Any:
        """One image, or a grid of several: of the seeds seed, seed + 1, ... By default, each seed draws a class."""
        kind = choose(format, accept, "png", "npz")
        return await answer(await service.sample(seed, num, label, truncation), kind)

    @app.get("/v1/interpolate", **_describe(service, "gif", "png", "npz"))
    async def interpolate(
        seeds: str = fastapi.Query(pattern=SEEDS, max_length=2000, description="two or more: 1,2,3"),
        label: str | None = label_query,
        frames: int = fastapi.Query(8, ge=2, le=settings.most_frames, description="from seed to seed, both included"),
        format: Literal["gif", "png", "npz"] | None = format_query,
        accept: str = accept_header,
    ) -> Any:
        """A walk through the latents of several seeds, of one class. Default: the class of the first seed."""
        kind = choose(format, accept, "gif", "png", "npz")
        samples = await service.interpolate([int(seed) for seed in seeds.split(",")], frames, label)
        return await answer(samples, kind, in_a_row=True)


def _add_facts(app: FastAPI, service: Service, gauges: Gauges) -> None:
    """Add /v1/info, /health and /metrics."""
    fastapi = _require_fastapi()

    @app.get("/v1/info", **_describe(service))
    async def info() -> Any:
        """What the generator makes, where it comes from, and the limits of requests."""
        return fastapi.responses.JSONResponse(service.info())

    @app.get("/health", **_describe(service, open_to_all=True))
    async def health() -> Any:
        """Whether requests are answered."""
        if service.batcher.is_alive:
            return fastapi.responses.JSONResponse({"status": "ok"})
        return _error(503, "the service is shutting down", {"Retry-After": "1"})

    @app.get("/metrics", include_in_schema=False)
    async def metrics() -> Any:
        return fastapi.Response(gauges.text(), media_type=gauges.media_type)


def _add_docs(app: FastAPI) -> None:
    """Add /docs, a page of the API that loads nothing from other hosts."""
    fastapi = _require_fastapi()
    found = importlib.util.find_spec("fastapi_offline")
    if found is None or found.origin is None:
        raise MissingExtra("fastapi-offline", "serve", "to serve images")
    folder = Path(found.origin).parent / "static"

    @app.get("/docs", include_in_schema=False)
    async def page() -> Any:
        return fastapi.responses.HTMLResponse(PAGE, headers={"Content-Security-Policy": POLICY})

    @app.get("/docs/start.js", include_in_schema=False)
    async def start() -> Any:
        return fastapi.Response(START, media_type="text/javascript")

    @app.get("/docs/{name}", include_in_schema=False)
    async def asset(name: str) -> Any:
        if name not in ASSETS:
            raise fastapi.HTTPException(404)
        return fastapi.responses.FileResponse(folder / name, media_type=ASSETS[name])


def _add_errors(app: FastAPI) -> None:
    """Answer each error with one line of JSON."""
    fastapi = _require_fastapi()

    @app.exception_handler(fastapi.exceptions.RequestValidationError)
    async def invalid(_: Any, error: Any) -> Any:
        first = error.errors()[0]
        text = str(first["msg"])
        if first["type"] == "string_pattern_mismatch":
            text = "Expected two or more whole numbers, such as 1,2"
        given = "" if first["type"] == "missing" else f" got {str(first.get('input'))[:40]!r};"
        return _error(422, f"{first['loc'][-1]}:{given} {text[:1].lower()}{text[1:]}")

    @app.exception_handler(fastapi.exceptions.StarletteHTTPException)
    async def refused(_: Any, error: Any) -> Any:
        words = {404: f"no such path; expected one of {', '.join(PATHS)}", 405: "expected GET"}
        return _error(error.status_code, words.get(error.status_code, str(error.detail)), error.headers)

    @app.exception_handler(QueueFull)
    async def busy(_: Any, error: QueueFull) -> Any:
        return _error(503, str(error), {"Retry-After": str(error.retry_seconds)})

    @app.exception_handler(ConfigError)
    async def wrong(_: Any, error: GansmithError) -> Any:
        return _error(422, " ".join(str(error).split()))

    @app.exception_handler(TimeoutError)
    async def late(_: Any, error: TimeoutError) -> Any:
        return _error(504, "the images were not ready in time; ask for fewer, or try again later")

    @app.exception_handler(Exception)
    async def failed(_: Any, error: Exception) -> Any:
        return _error(500, "an error inside the service; its log has the reason")


def _error(status: int, text: str, headers: Mapping[str, str] | None = None) -> Any:
    return _require_fastapi().responses.JSONResponse({"error": text}, status, headers)


def _describe(service: Service, *kinds: str, open_to_all: bool = False) -> dict[str, Any]:
    """Return the arguments of a route that describe its answers in OpenAPI."""
    fastapi = _require_fastapi()
    error = {"type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"]}
    failure = {"content": {"application/json": {"schema": error}}}
    words = {503: "busy or shutting down"}
    if kinds:
        words |= {406: "unknown format", 422: "invalid parameter", 504: "not ready in time"}
    protected = service.settings.token is not None and not open_to_all
    if protected:
        words[401] = "no token, or another"
    files = {MEDIA_TYPES[kind]: {"schema": {"type": "string", "format": "binary"}} for kind in kinds}
    answers = {200: {"content": files or {"application/json": {"schema": {"type": "object"}}}, "description": "done"}}
    bearer = fastapi.security.HTTPBearer(auto_error=False)
    return {
        "responses": answers | {status: {**failure, "description": text} for status, text in words.items()},
        "response_class": fastapi.Response,
        "response_model": None,
        "dependencies": [fastapi.Depends(bearer)] if protected else [],
    }


def _require_fastapi() -> Any:
    """Return FastAPI, with all submodules that are used here."""
    try:
        import fastapi.concurrency
        import fastapi.exceptions
        import fastapi.responses
        import fastapi.security
    except ImportError as error:
        raise MissingExtra("fastapi", "serve", "to serve images") from error
    return fastapi
