"""The paths of the service: images that depend on nothing but what was asked, limits, and errors in one line."""

from __future__ import annotations

import asyncio
import dataclasses
import io
import json
import re
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from gansmith.deploy import routes
from gansmith.deploy.answers import choose_format
from gansmith.deploy.gauges import Gauges
from gansmith.deploy.routes import make_app
from gansmith.deploy.service import Service, ServiceSettings
from gansmith.errors import ConfigError
from gansmith.images.sheets import grid
from gansmith.sampling.generator import TrainedGenerator
from gansmith.sampling.walks import interpolate

SMALL = ServiceSettings(batch_size=4, most_images=16, most_frames=12)


@pytest.fixture
def service(class_generator: TrainedGenerator) -> Service:
    return Service(class_generator, SMALL, {"run": "signs"})


def ask(service: Service, *urls: str, **headers: str) -> list[httpx.Response]:
    """Answers to requests that are made at the same time."""

    async def talk(client: httpx.AsyncClient) -> list[httpx.Response]:
        return list(await asyncio.gather(*(client.get(url, headers=headers) for url in urls)))

    return converse(service, talk)


def converse(service: Service, talk: Callable[[httpx.AsyncClient], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        transport = httpx.ASGITransport(app=make_app(service), raise_app_exceptions=False)  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            return await talk(client)

    return asyncio.run(run())


def pixels(answer: httpx.Response) -> np.ndarray[Any, Any]:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/png"
    with Image.open(io.BytesIO(answer.content)) as image:
        return np.asarray(image).astype(int)


def arrays(answer: httpx.Response) -> dict[str, np.ndarray[Any, Any]]:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/x-npz"
    with np.load(io.BytesIO(answer.content), allow_pickle=False) as read:
        return dict(read)


def refused(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    plain = answer.json()
    assert list(plain) == ["error"] and "\n" not in plain["error"]
    return str(plain["error"])


# --- images ------------------------------------------------------------------------------------------------


def test_a_seed_is_one_image_bit_for_bit_however_requests_are_batched(
    service: Service, class_generator: TrainedGenerator
) -> None:
    urls = [f"/v1/sample?seed={seed}&num={num}&format=npz" for seed, num in [(0, 9), (3, 1), (5, 4), (8, 1), (2, 7)]]
    together = [arrays(answer) for answer in ask(service, *urls)]
    alone = [arrays(ask(service, url)[0]) for url in urls]
    whole = {int(seed): image for each in together for seed, image in zip(each["seeds"], each["images"], strict=True)}
    for each, other in zip(together, alone, strict=True):
        assert all(np.array_equal(each[name], other[name]) for name in ("images", "labels", "seeds"))
        assert all(
            np.array_equal(whole[seed], image) for seed, image in zip(each["seeds"], each["images"], strict=True)
        )
    samples = class_generator.sample(9)  # in Python, in a batch of another size
    assert np.abs(together[0]["images"].astype(int) - samples.images).max() <= 1
    assert np.array_equal(together[0]["labels"], samples.labels)


def test_a_png_is_one_image_or_a_grid(service: Service) -> None:
    one, several = ask(service, "/v1/sample?seed=7", "/v1/sample?seed=7&num=5")
    (file,) = ask(service, "/v1/sample?seed=7&num=5", accept="application/x-npz")
    images = arrays(file)["images"]
    assert np.array_equal(pixels(one), images[0]) and pixels(one).shape == (12, 16, 3)
    assert np.array_equal(pixels(several), grid(images, scale=1))


def test_labels_by_name_or_number_and_truncation(service: Service, class_generator: TrainedGenerator) -> None:
    named, numbered, shorter = (
        arrays(answer)
        for answer in ask(
            service,
            *(f"/v1/sample?seed=3&num=2&format=npz&{more}" for more in ("label=yield", "label=1", "truncation=0.5")),
        )
    )
    assert named["labels"].tolist() == [1, 1] and np.array_equal(named["images"], numbered["images"])
    wanted = class_generator.sample(2, seed=3, truncation=0.5).images.astype(int)
    assert np.abs(shorter["images"].astype(int) - wanted).max() <= 1
    assert np.abs(shorter["images"].astype(int) - class_generator.sample(2, seed=3).images).max() > 1


def test_a_walk_is_that_of_python_leg_by_leg(service: Service, class_generator: TrainedGenerator) -> None:
    walked, row, film = ask(
        service,
        "/v1/interpolate?seeds=1,2,5&frames=4&label=stop&format=npz",
        "/v1/interpolate?seeds=1,2,5&frames=4&label=stop&format=png",
        "/v1/interpolate?seeds=1,2,5&frames=4&label=stop",
    )
    legs = [interpolate(class_generator, *ends, steps=4, label="stop").images for ends in ((1, 2), (2, 5))]
    found = arrays(walked)
    assert np.abs(found["images"].astype(int) - np.concatenate([legs[0], legs[1][1:]])).max() <= 1
    assert found["labels"].tolist() == [0] * 7 and "seeds" not in found
    assert np.array_equal(pixels(row), grid(found["images"], columns=7, scale=1))
    with Image.open(io.BytesIO(film.content)) as animation:
        assert film.headers["content-type"] == "image/gif" and animation.n_frames == 7  # type: ignore[attr-defined]
        assert animation.size == (16, 12) and animation.info["loop"] == 0


def test_a_walk_keeps_the_class_of_its_first_seed(service: Service, class_generator: TrainedGenerator) -> None:
    _, labels = class_generator.draw(range(20))
    assert labels is not None
    other = next(seed for seed in range(20) if labels[seed] != labels[0])
    (answer,) = ask(service, f"/v1/interpolate?seeds=0,{other}&frames=3&format=npz")
    assert arrays(answer)["labels"].tolist() == [int(labels[0])] * 3


def test_images_without_classes(small_generator: TrainedGenerator) -> None:
    service = Service(small_generator, SMALL)
    sampled, walked, wrong = ask(
        service, "/v1/sample?format=npz", "/v1/interpolate?seeds=1,2&format=npz", "/v1/sample?label=1"
    )
    assert sorted(arrays(sampled)) == ["images", "seeds"] and sorted(arrays(walked)) == ["images"]
    assert refused(wrong, 422) == "label: got '1', but this model was trained without labels; omit it"


@pytest.mark.parametrize(
    ("wanted", "accept", "found"),
    [
        (None, "*/*", "png"),
        (None, "", "png"),
        ("npz", "image/png", "npz"),
        (None, "application/x-npz", "npz"),
        (None, "image/png;q=0.5, application/x-npz", "npz"),
        (None, "application/x-npz;q=0.5, image/*", "png"),
        (None, "text/html,application/xhtml+xml,*/*;q=0.8", "png"),
        (None, "application/*", "npz"),
        (None, "image/png;q=0", None),
        (None, "image/png;q=high", None),
        (None, "text/html", None),
    ],
)
def test_the_format_that_a_client_accepts(wanted: str | None, accept: str, found: str | None) -> None:
    assert choose_format(wanted, accept, ["png", "npz"]) == found


# --- limits and errors -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("sample?label=stopp", "label: no class is called 'stopp'; did you mean 'stop'?"),
        ("sample?label=go", "label: class go had no training images; choose another class"),
        ("sample?num=17", "num: got '17'; input should be less than or equal to 16"),
        ("sample?num=0", "num: got '0'; input should be greater than or equal to 1"),
        ("sample?num=two", "num: got 'two'; input should be a valid integer, unable to parse string as an integer"),
        ("sample?truncation=nan", "truncation: got 'nan'; input should be "),
        ("sample?seed=9223372036854775807&num=2", "seed: 9223372036854775808 is out of range; expected from "),
        ("sample?lable=stop", "lable: no such parameter; did you mean 'label'?"),
        ("sample?seed=1&seed=2", "seed: given 2 times, expected once"),
        ("sample?format=jpg", "format: got 'jpg'; input should be 'png' or 'npz'"),
        ("interpolate?seeds=1", "seeds: got '1'; expected two or more whole numbers, such as 1,2"),
        ("interpolate", "seeds: field required"),
        ("interpolate?seeds=1,2&frames=1", "frames: got '1'; input should be greater than or equal to 2"),
        ("interpolate?seeds=1,2,3&frames=7", "frames: 13 images are out of range; expected 1 to 12"),
    ],
)
def test_what_cannot_be_answered_is_said_in_one_line(service: Service, url: str, error: str) -> None:
    assert refused(ask(service, f"/v1/{url}")[0], 422).startswith(error)


def test_an_answer_has_a_limit_of_pixels(class_generator: TrainedGenerator) -> None:
    service = Service(class_generator, dataclasses.replace(SMALL, most_pixels=5 * 12 * 16 + 1))
    fits, too_large, walk = ask(service, "/v1/sample?num=5", "/v1/sample?num=6", "/v1/interpolate?seeds=1,2&frames=6")
    assert fits.status_code == 200
    assert refused(too_large, 422) == "num: 6 images are out of range; expected 1 to 5"
    assert refused(walk, 422) == "frames: 6 images are out of range; expected 1 to 5"


def test_other_paths_methods_and_types(service: Service) -> None:
    async def talk(client: httpx.AsyncClient) -> list[httpx.Response]:
        return [await client.get("/v1/smaple"), await client.post("/v1/sample"), await client.get("/docs/../x")]

    absent, posted, outside = converse(service, talk)
    assert refused(absent, 404).startswith("no such path; expected one of /v1/sample, /v1/interpolate")
    assert refused(posted, 405) == "expected GET" and posted.headers["allow"] == "GET"
    refused(outside, 404)
    unknown = ask(service, "/v1/sample", accept="text/html")[0]
    assert refused(unknown, 406) == "Accept: got 'text/html'; expected one of image/png, application/x-npz"


def blocked(service: Service) -> tuple[threading.Event, threading.Event]:
    """Two events: the generator has begun; it may go on."""
    began, go_on = threading.Event(), threading.Event()
    compute = service.batcher._compute

    def wait(*given: Any) -> Any:
        began.set()
        assert go_on.wait(20)
        return compute(*given)

    service.batcher._compute = wait
    return began, go_on


def test_too_many_requests_are_sent_away(class_generator: TrainedGenerator) -> None:
    service = Service(class_generator, dataclasses.replace(SMALL, most_waiting=4, wait_ms=0))
    began, go_on = blocked(service)

    async def talk(client: httpx.AsyncClient) -> tuple[httpx.Response, ...]:
        first = asyncio.create_task(client.get("/v1/sample"))
        assert await asyncio.to_thread(began.wait, 20)
        second = asyncio.create_task(client.get("/v1/sample?num=4"))
        while service.batcher.num_waiting < 4:
            await asyncio.sleep(0)
        third = await client.get("/v1/sample")
        go_on.set()
        return await first, await second, third

    first, second, third = converse(service, talk)
    assert first.status_code == second.status_code == 200
    assert refused(third, 503) == "4 images are waiting; try again later" and third.headers["retry-after"] == "1"


def test_who_waits_too_long_is_told(class_generator: TrainedGenerator) -> None:
    service = Service(class_generator, dataclasses.replace(SMALL, timeout_seconds=1))
    object.__setattr__(service.settings, "timeout_seconds", 0.01)
    _, go_on = blocked(service)
    answer = ask(service, "/v1/sample?num=9")[0]
    go_on.set()
    assert refused(answer, 504) == "the images were not ready in time; ask for fewer, or try again later"


def test_an_error_inside_shows_neither_path_nor_trace(service: Service) -> None:
    def fail(*_: Any) -> Any:
        raise RuntimeError("/home/secret/model.py is broken")

    service.batcher._compute = fail
    assert refused(ask(service, "/v1/sample")[0], 500) == "an error inside the service; its log has the reason"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 0}, "batch_size: 0 is out of range; expected 1 to 64"),
        ({"timeout_seconds": float("nan")}, "timeout_seconds: nan is out of range; expected 1 to 86,400"),
        ({"wait_ms": -1}, "wait_ms: -1 is out of range; expected 0 to 10,000"),
        ({"token": ""}, "token: expected one or more printable ASCII characters"),
        ({"token": "ü"}, "token: expected one or more printable ASCII characters"),
    ],
)
def test_settings_out_of_range_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ServiceSettings(**change)
    assert str(caught.value) == message


# --- the token ---------------------------------------------------------------------------------------------


def test_with_a_token_only_those_who_know_it_get_images(class_generator: TrainedGenerator) -> None:
    service = Service(class_generator, dataclasses.replace(SMALL, token="a secret"))
    paths = ("/v1/sample", "/v1/interpolate?seeds=1,2", "/v1/info", "/metrics", "/docsy")
    for headers in ({}, {"authorization": "Bearer a secre"}, {"authorization": "a secret"}, {"x": "Bearer a secret"}):
        for answer in ask(service, *paths, **headers):
            refused(answer, 401)
            assert answer.headers["www-authenticate"] == "Bearer"
    known = ask(service, *paths, authorization="bearer a secret")
    assert [answer.status_code for answer in known] == [200, 200, 200, 200, 404]
    assert [answer.status_code for answer in ask(service, "/health", "/docs", "/openapi.json")] == [200] * 3
    assert "a secret" not in repr(service.settings) + known[2].text + ask(service, "/openapi.json")[0].text


# --- facts -------------------------------------------------------------------------------------------------


def test_what_the_service_says_of_itself(service: Service, class_generator: TrainedGenerator) -> None:
    info, health = (answer.json() for answer in ask(service, "/v1/info", "/health"))
    assert info["classes"] == ["stop", "yield", "go"] and (info["height"], info["width"], info["channels"]) == (
        12,
        16,
        3,
    )
    assert info["run"] == "signs" and info["limits"]["most_images"] == 16 and "token" not in json.dumps(info)
    assert health == {"status": "ok"}
    service.batcher.close()
    assert refused(ask(service, "/health")[0], 503) == "the service is shutting down"


def test_prometheus_reads_what_was_done(service: Service) -> None:
    ask_again = ["/v1/sample?num=5", "/v1/sample?num=99", "/elsewhere", "/another"]

    async def talk(client: httpx.AsyncClient) -> httpx.Response:
        for url in ask_again:
            await client.get(url)
        return await client.get("/metrics")

    text = converse(service, talk).text
    for line in (
        'gansmith_requests_total{path="/v1/sample",status="200"} 1.0',
        'gansmith_requests_total{path="/v1/sample",status="422"} 1.0',
        'gansmith_requests_total{path="other",status="404"} 2.0',
        'gansmith_request_seconds_count{path="/v1/sample"} 2.0',
        "gansmith_images_total 5.0",
        "gansmith_passes_total 2.0",
        "gansmith_waiting_images 0.0",
    ):
        assert line in text.splitlines()
    assert Gauges(lambda: 3).text().decode().count("gansmith_waiting_images 3.0") == 1


def test_the_page_of_the_api_loads_everything_from_here(service: Service) -> None:
    (page,) = ask(service, "/docs")
    targets = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert targets and not any("//" in target for target in targets)
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "http" not in page.headers["content-security-policy"]
    for answer in ask(service, *(f"/{target}" for target in targets)):
        assert answer.status_code == 200 and answer.headers["x-content-type-options"] == "nosniff"


def test_openapi_names_the_parameters_that_are_accepted(service: Service) -> None:
    paths = ask(service, "/openapi.json")[0].json()["paths"]
    assert sorted(paths) == ["/health", "/v1/info", "/v1/interpolate", "/v1/sample"]
    for path, names in routes.PARAMETERS.items():
        described = {each["name"]: each["schema"] for each in paths[path]["get"]["parameters"]}
        assert set(described) == set(names)
    assert described["frames"]["maximum"] == 12
    assert sorted(paths["/v1/sample"]["get"]["responses"]) == ["200", "406", "422", "503", "504"]


def test_the_service_can_be_mounted_in_another_application(service: Service) -> None:
    import fastapi

    outer = fastapi.FastAPI()
    outer.mount("/gan", make_app(service))

    async def talk() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app=outer)  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            return [await client.get(f"/gan{url}") for url in ("/v1/sample?seed=1", "/v1/sample?sed=1", "/metrics")]

    image, wrong, metrics = asyncio.run(talk())
    assert pixels(image).shape == (12, 16, 3) and refused(wrong, 422).startswith("sed: no such parameter")
    assert 'gansmith_requests_total{path="/v1/sample",status="200"} 1.0' in metrics.text
