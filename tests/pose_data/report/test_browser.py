"""The report in a real browser: it opens from disk, asks nobody, and its filters and keys work."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pose_data.evaluation import evaluate
from pose_data.report import judge, write_report
from pose_data.report.facts import ReportSources

CHROMIUM, DRIVER = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--window-size=1280,900",
)  # fmt: skip


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[Any]:
    if CHROMIUM is None or DRIVER is None:
        pytest.skip(reason="needs chromium and chromedriver; .ci/run installs them")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def page(judged_case, tmp_path_factory) -> Path:
    truth, detections = judged_case(11, pictures=60)
    judgement = judge(evaluate(truth, detections), replicates=20)
    folder = tmp_path_factory.mktemp("report")
    return write_report(judgement, folder, ReportSources(results="r.json", truth="t.json"), most_cases=60).page


@pytest.fixture
def opened(browser, page):
    browser.get_log("performance")
    browser.get(page.as_uri())
    return browser


def shown(browser) -> list[Any]:
    return [card for card in browser.find_elements("css selector", ".card") if card.is_displayed()]


def test_it_opens_from_disk_and_asks_nobody(opened, page):
    messages = [json.loads(entry["message"])["message"] for entry in opened.get_log("performance")]
    requests = [one["params"] for one in messages if one["method"] == "Network.requestWillBeSent"]
    # The browser's own first page may still be loading; what counts is what this page asks for.
    asked = [one["request"]["url"] for one in requests if one["documentURL"].startswith(page.as_uri())]
    assert page.as_uri() in asked
    assert [url for url in asked if url != page.as_uri() and not url.startswith("data:")] == []
    assert [entry for entry in opened.get_log("browser") if entry["level"] == "SEVERE"] == []
    assert "AP" in opened.title


def test_filters_show_what_was_asked_for(opened):
    from selenium.webdriver.support.ui import Select

    every = len(shown(opened))
    assert every == 60
    Select(opened.find_element("name", "sort")).select_by_value("worst")
    worst = shown(opened)
    assert 0 < len(worst) < every
    assert {card.get_attribute("data-sort") for card in worst} == {"worst"}
    Select(opened.find_element("name", "keypoints")).select_by_value("left_wrist")
    assert all("left_wrist" in card.get_attribute("data-keypoints").split() for card in shown(opened))
    assert opened.find_element("id", "count").text == f"{len(shown(opened))} of {every}"
    opened.find_element("id", "clear").click()
    assert len(shown(opened)) == every


def test_keys_go_through_the_cards(opened):
    from selenium.webdriver.common.keys import Keys

    cards = shown(opened)
    cards[0].send_keys(Keys.ARROW_RIGHT)
    assert opened.switch_to.active_element == cards[1]
    cards[1].send_keys(Keys.ENTER)
    dialog = opened.find_element("css selector", "dialog")
    assert dialog.is_displayed()
    title = cards[1].find_element("css selector", "b").text
    assert title in dialog.text
    dialog.find_element("css selector", ".after").click()
    assert cards[2].find_element("css selector", "span").text in dialog.text
    opened.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert not dialog.is_displayed()


def test_a_keypoint_of_the_table_shows_its_cases(opened):
    opened.find_element("css selector", '[data-show="keypoints=nose"]').click()
    assert all("nose" in card.get_attribute("data-keypoints").split() for card in shown(opened))


def test_the_theme_can_be_changed(opened):
    def paper() -> str:
        return opened.execute_script("return getComputedStyle(document.body).backgroundColor")

    before = paper()
    opened.find_element("id", "theme").click()
    assert paper() != before


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_wider_than_the_window(opened, width):
    opened.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 500},
    )
    assert opened.execute_script("return document.documentElement.scrollWidth") <= width
    opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
