"""The page in a real browser."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from s2tf_edge.runtime.streaming.records import Action
from s2tf_edge.runtime.streaming.regions import Region
from s2tf_edge.runtime.web.sink import WebSink

pytestmark = pytest.mark.needs_chromium

HOSTILE = "<img src=x onerror='window.hacked = 1'><b>waving</b>"
FLAGS = ("--disable-gpu", "--disable-quic")
TOKEN = "correct-horse-battery"
_COLOR = "(canvas, x, y) => [...canvas.getContext('2d').getImageData(x, y, 1, 1).data.slice(0, 3)]"
_LIGHT_OF_HALVES = """canvas => [0, canvas.width / 2].map(left => {
    const {data} = canvas.getContext("2d").getImageData(left + 8, canvas.height / 2, canvas.width / 2 - 16, 8);
    return data.filter((_, index) => index % 4 < 3).reduce((sum, value) => sum + value, 0);
})"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        path = shutil.which("chromium") or "chromium"
        started = playwright.chromium.launch(executable_path=path, args=FLAGS, chromium_sandbox=False)
        with closing(started):
            yield started


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    with closing(browser.new_context(viewport={"width": 1280, "height": 800})) as opened:
        opened.set_default_timeout(60_000)
        yield opened


@pytest.fixture
def problems() -> list[str]:
    return []


@pytest.fixture
def tab(context: BrowserContext, problems: list[str]) -> Page:
    """A page that notes what its console complains of."""
    expect.set_options(timeout=60_000)
    opened = context.new_page()
    opened.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    opened.on("pageerror", lambda error: problems.append(str(error)))
    return opened


def test_it_shows_a_stream(page: WebSink, make: SimpleNamespace, tab: Page, problems: list[str]) -> None:
    page.write(make.start())
    page.write(make.picture())
    page.write(make.event("sitting", t_start=0.0, t_end=4.0))
    page.write(make.status())
    page.write(make.prediction("waving", 0.75, at=6.0))
    page.write(make.status(make.source_status(frames=75), seconds=3.0))
    tab.goto(page.url)
    expect(tab.locator("h1")).to_have_text("net_openvino_fp16")
    expect(tab.locator("#facts")).to_have_text("x3d_s · fp16 · openvino · 3 labels · clips of 16 frames")
    expect(tab.locator("#connection")).to_have_text("live")
    expect(tab.locator(".state")).to_have_text("playing")
    expect(tab.locator(".caption .label")).to_have_text("waving")
    expect(tab.locator(".bars li").first).to_contain_text("75 %")
    expect(tab.locator(".timeline > *")).to_have_text(["sitting", "waving"])
    expect(tab.locator(".recent li")).to_have_count(2)
    expect(tab.locator(".figures")).to_contain_text("25.0 fps")
    expect(tab.locator("#age-p50")).to_have_text("120ms")
    expect(tab.locator("#dropped")).to_have_text("7")
    expect(tab.locator(".picture")).to_have_class("picture shows")
    expect(tab.locator("#chart-age .legend")).to_contain_text("infer 80 ms")
    assert _is_drawn(tab, "#chart-age canvas")
    assert problems == []


def _is_drawn(tab: Page, selector: str) -> bool:
    """Whether a chart holds a color, which its axes do not have."""
    script = """canvas => {
        const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        for (let i = 0; i < data.length; i += 4) {
            const color = data.slice(i, i + 3);
            if (data[i + 3] === 255 && Math.max(...color) - Math.min(...color) > 60) return true;
        }
        return false;
    }"""
    return bool(tab.locator(selector).evaluate(script))


def test_what_was_read_of_a_part_counts_from_its_first_frame(page: WebSink, make: SimpleNamespace, tab: Page) -> None:
    page.write(make.start())
    page.write(make.status(make.source_status(position_seconds=18.0, first_seconds=13.0, duration_seconds=9.0)))
    tab.goto(page.url)
    expect(tab.locator(".figures")).to_contain_text("0:05 of 0:09")


@pytest.mark.parametrize(("hop", "steps"), [(1, "steps of 1 frame"), (3, "steps of 3 frames")])
def test_it_says_that_a_network_steps(page: WebSink, make: SimpleNamespace, tab: Page, hop: int, steps: str) -> None:
    page.write(dataclasses.replace(make.start(), form="step", hop=hop))
    tab.goto(page.url)
    expect(tab.locator("#facts")).to_have_text(f"x3d_s · fp16 · openvino · 3 labels · {steps}")


def test_it_follows(page: WebSink, make: SimpleNamespace, tab: Page, problems: list[str]) -> None:
    page.write(make.start())
    tab.goto(page.url)
    expect(tab.locator(".state")).to_have_text("waiting")
    page.write(make.prediction("waving"))
    expect(tab.locator(".caption .label")).to_have_text("waving")
    page.write(make.prediction("sitting", 0.2, at=2.0))
    expect(tab.locator(".caption .label")).to_have_text("sitting")
    expect(tab.locator(".caption")).to_have_class("caption unsure")
    page.write(make.status(make.source_status(state="lost", message="no answer for 5 s")))
    expect(tab.locator(".state")).to_have_text("lost: reconnecting…")
    expect(tab.locator(".message")).to_have_text("no answer for 5 s")
    page.write(make.failure())
    expect(tab.locator(".state")).to_have_text("failed")
    expect(tab.locator(".message")).to_have_text("front door cannot be opened")
    page.write(make.summary())
    expect(tab.locator("#summary")).to_have_text(
        "The stream has ended: 300 frames, 72 windows, 2 events, 1 gap in 0:12."
    )
    expect(tab.locator("#connection")).to_have_text("ended")
    assert problems == []


def test_each_zone_is_shown_in_the_pictures_that_all_share(
    page: WebSink, make: SimpleNamespace, tab: Page, problems: list[str]
) -> None:
    door, till = Region("door", (0.0, 0.0, 0.5, 1.0)), Region("till", (0.5, 0.0, 0.5, 1.0))
    names = ("front [door]", "front [till]")
    page.write(replace(make.start(), sources=names, regions=(door, till), pictures=(0, 0)))
    page.write(make.picture())
    for source, (region, label) in enumerate(((door, "waving"), (till, "sitting"))):
        found = replace(make.prediction(label), source=source, region=region.name, box=region.box)
        page.write(replace(found, action=Action(label=label, t_start=0.0, score=0.75)))
    page.write(make.status(*(replace(make.source_status(), name=name) for name in names)))
    tab.goto(page.url)
    expect(tab.locator(".name")).to_have_text([*names])
    expect(tab.locator(".caption .label")).to_have_text(["waving", "sitting"])
    expect(tab.locator(".picture.shows")).to_have_count(2)
    # Its own zone is in full light in each of the two.
    lights = [tab.locator(".picture canvas").nth(place).evaluate(_LIGHT_OF_HALVES) for place in (0, 1)]
    assert [left > 1.5 * right for left, right in lights] == [True, False]
    assert [right > 1.5 * left for left, right in lights] == [False, True]
    assert problems == []


def test_an_action_has_the_time_that_its_event_will_have(
    page: WebSink, make: SimpleNamespace, tab: Page, problems: list[str]
) -> None:
    page.write(make.start())
    page.write(make.prediction("sitting", at=4.0, action=Action(label="sitting", t_start=1.28, score=0.75)))
    page.write(make.prediction("waving", at=6.0, action=Action(label="waving", t_start=5.36, score=0.75)))
    page.write(make.event("sitting", t_start=1.28, t_end=5.36))
    # The best label is another one by now; the action goes on all the same.
    page.write(make.prediction("sitting", 0.4, at=7.0, action=Action(label="waving", t_start=5.36, score=0.6)))
    page.write(make.status())
    tab.goto(page.url)
    expect(tab.locator(".timeline > *")).to_have_text(["sitting", "waving"])
    times = ["0:05.36 – now · 60 %", "0:01.28 – 0:05.36 · 80 %"]
    expect(tab.locator(".recent time")).to_have_text(times)
    page.write(make.event("waving", t_start=5.36, t_end=3659.996))
    expect(tab.locator(".recent time").first).to_have_text("0:05.36 – 1:01:00.00 · 80 %")
    assert problems == []


def test_bars_that_round_to_nothing_are_hidden(page: WebSink, make: SimpleNamespace, tab: Page) -> None:
    page.write(make.start())
    page.write(make.prediction("a", 0.98, topk=(("a", 0.98), ("b", 0.006), ("c", 0.0049), ("d", 0.0))))
    tab.goto(page.url)
    expect(tab.locator(".bars li")).to_have_count(4)
    expect(tab.locator(".bars li:visible")).to_have_text(["a98 %", "b1 %"])
    page.write(make.prediction("a", 0.004, topk=(("a", 0.004), ("b", 0.004))))
    expect(tab.locator(".bars li:visible")).to_have_text(["a0 %"])


def test_text_of_records_stays_text(page: WebSink, make: SimpleNamespace, tab: Page, problems: list[str]) -> None:
    page.write(make.start(HOSTILE))
    page.write(make.event(HOSTILE))
    page.write(make.prediction(HOSTILE))
    page.write(make.failure(HOSTILE))
    tab.goto(page.url)
    for part in (".name", ".caption .label", ".recent b"):
        expect(tab.locator(part).first).to_have_text(HOSTILE)
    tab.locator(".timeline > *").first.hover()
    expect(tab.locator("#tip")).to_contain_text(HOSTILE)
    expect(tab.locator("#tip")).to_contain_text("0:00.00 – 0:04.00, score 80 %")
    assert tab.evaluate("window.hacked") is None
    assert problems == []


def test_the_heat_map_lies_where_the_network_looks(
    page: WebSink, make: SimpleNamespace, tab: Page, problems: list[str]
) -> None:
    page.write(make.start())
    page.write(make.picture(level=90, height=120, width=160))
    mask = np.zeros((8, 8), np.float32)
    mask[:, :4] = 1
    page.write(make.prediction(mask=mask))
    tab.goto(page.url)
    expect(tab.locator(".picture")).to_have_class("picture shows")
    tab.get_by_role("button", name="heat map").click()
    tab.wait_for_function(
        "() => document.querySelector('.picture canvas').getContext('2d').getImageData(60, 60, 1, 1).data[0] > 150"
    )
    # 64 of 128 pixels of the short side are cropped: 60 of 120, from (50, 30) to (110, 90).
    gray = [_color(tab, *place) for place in ((45, 60), (60, 25), (60, 95), (105, 60), (115, 60))]
    assert gray == [pytest.approx([90, 90, 90], abs=3)] * 5
    hot = [_color(tab, *place) for place in ((54, 60), (60, 34), (60, 86))]
    assert min(red - blue for red, _, blue in hot) > 80
    tab.get_by_role("button", name="heat map").click()
    assert _color(tab, 60, 60) == pytest.approx([90, 90, 90], abs=3)
    assert problems == []


def _color(tab: Page, x: int, y: int) -> list[int]:
    return list(tab.locator(".picture canvas").evaluate(f"canvas => ({_COLOR})(canvas, {x}, {y})"))


@pytest.mark.parametrize("width", [320, 390, 768, 1280, 1920])
def test_sources_fit_every_window(page: WebSink, make: SimpleNamespace, tab: Page, width: int) -> None:
    names = [f"rtsp://camera-{index}.local/a/very/long/path/{'x' * 80}" for index in range(4)]
    page.write(make.start(*names))
    for index in range(4):
        page.write(make.prediction(f"a label of many words, number {index}", source=index))
    page.write(make.status(*(make.source_status(name) for name in names)))
    tab.set_viewport_size({"width": width, "height": 800})
    tab.goto(page.url)
    expect(tab.locator(".source")).to_have_count(4)
    expect(tab.locator(".caption .label")).to_have_text([f"a label of many words, number {i}" for i in range(4)])
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.usefixtures("patient_end")
@pytest.mark.parametrize(
    ("ends", "state"), [(False, "no connection: trying again…"), (True, "ended")], ids=["killed", "ended"]
)
def test_it_finds_a_server_that_is_started_again(
    serve: Callable[..., WebSink], make: SimpleNamespace, tab: Page, ends: bool, state: str
) -> None:
    first = serve()
    first.write(make.start("old door"))
    first.write(make.prediction("waving"))
    tab.goto(first.url)
    expect(tab.locator(".caption .label")).to_have_text("waving")
    if ends:
        first.write(make.summary())
    first.close()
    expect(tab.locator("#connection")).to_have_text(state)
    second = serve(first.url.removeprefix("http://").rstrip("/"))
    second.write(make.start("new door"))
    expect(tab.locator(".name")).to_have_text(["new door"])
    expect(tab.locator("#connection")).to_have_text("live")
    expect(tab.locator(".caption .label")).to_have_text("")


def test_the_token_is_asked_for_and_does_not_stay_in_the_address(
    serve: Callable[..., WebSink], make: SimpleNamespace, tab: Page
) -> None:
    sink = serve(token=TOKEN)
    sink.write(make.start())
    sink.write(make.prediction("waving"))
    tab.goto(sink.url)
    tab.get_by_label("Token").fill("not-the-token")
    tab.get_by_role("button").click()
    expect(tab.get_by_text("This is not the token.")).to_be_visible()
    tab.get_by_label("Token").fill(TOKEN)
    tab.get_by_role("button").click()
    expect(tab.locator(".caption .label")).to_have_text("waving")
    assert tab.url == sink.url
    assert tab.evaluate("document.cookie") == ""
