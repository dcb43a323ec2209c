"""A report in a real browser: clicks, keys, no error in the console, no request that leaves the file."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import Workdir

pytestmark = pytest.mark.slow
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
if not (CHROMIUM and DRIVER):
    pytest.skip("chromium and chromedriver are not installed (apt-get install chromium-driver)", allow_module_level=True)
webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed (pip install selenium)")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    for word in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1300,1500"):
        options.add_argument(word)
    options.binary_location = CHROMIUM
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


def opened(browser: Any, work: Workdir, command: str) -> Any:
    """Run the command, and open the report that it writes."""
    work.here(f"relrep {command} -o r.html -q")
    browser.get(f"file://{work / 'r.html'}")
    assert browser.execute_script("return document.documentElement.dataset.ready") == "yes"
    return browser


def text(browser: Any, selector: str) -> str:
    return str(browser.execute_script("return document.querySelector(arguments[0]).innerText", selector))


def count(browser: Any, selector: str) -> int:
    return int(browser.execute_script("return document.querySelectorAll(arguments[0]).length", selector))


def find(browser: Any, selector: str) -> Any:
    return browser.find_element("css selector", selector)


def requested(browser: Any) -> set[str]:
    """The schemes of all that the browser asked for."""
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
    return {url.partition(":")[0] for url in sent}


def test_compare_in_a_browser(browser: Any, work: Workdir) -> None:
    opened(browser, work, "compare a.h5 b.h5 c.h5 -m knn-jaccard,cka --permutations 19 -a anchors.h5")
    assert count(browser, "#heatmap [data-row]") == 6 and "a and b" in text(browser, "#details")
    find(browser, "[data-row='1'][data-column='2']").click()
    assert "b and c" in text(browser, "#details") and "95 % interval" in text(browser, "#details")
    assert [text(browser, f"#panels figure:nth-child({place}) h3") for place in (1, 2)] == ["b, absolute", "c, absolute"]

    find(browser, "[data-row='1'][data-column='2']").send_keys("\ue012")  # to the left, over the diagonal
    assert browser.switch_to.active_element.get_attribute("data-column") == "0"
    browser.switch_to.active_element.send_keys("\ue007")
    assert "b and a" in text(browser, "#details")

    find(browser, "#details table:last-of-type button").click()  # the item that agrees least
    assert count(browser, "#panels path.on") == 2 and text(browser, "#marked").startswith("1 marked: item-")
    find(browser, "#find-text").send_keys("item-01\n")
    assert count(browser, "#panels path.on") == 20 and text(browser, "#marked").startswith("10 marked")
    find(browser, "#legend button").click()
    assert count(browser, "#panels path.on") == 2 * int(text(browser, "#marked").split()[0])
    find(browser, "body").send_keys("\ue00c")
    assert count(browser, "#panels path.on") == 0

    cloud = find(browser, "#panels svg")
    drag = webdriver.ActionChains(browser).move_to_element_with_offset(cloud, -180, -180).click_and_hold()
    drag.move_to_element_with_offset(cloud, 180, 180).release().perform()
    assert count(browser, "#panels path.on") > 100

    find(browser, "#choice-metric option[value='cka']").click()
    assert "linear kernel" in text(browser, "#details") and count(browser, "#details svg") == 0
    find(browser, "#choice-spaces option[value='cosine']").click()
    assert text(browser, "#panels h3") == "b, cosine"
    find(browser, "#table th button").click()
    assert count(browser, "#table th[aria-sort]") == 1
    assert not {"null", "undefined", "NaN"} & set(re.findall(r"\w+", text(browser, "body")))
    assert browser.get_log("browser") == [] and requested(browser) <= {"file", "data"}


def test_the_closest_layer_is_named_in_a_browser(browser: Any, work: Workdir) -> None:
    opened(browser, work, "compare a.h5 b.h5 c.h5 -m knn-jaccard --reference first")
    assert re.search(r"Closest column of each row: a with b 0\.\d+", text(browser, "#heatmap"))
    opened(browser, work, "compare a.h5 b.h5 c.h5 -m knn-jaccard --force")
    assert "Closest column" not in text(browser, "#heatmap")


def test_themes_print_and_names_of_controls(browser: Any, work: Workdir) -> None:
    opened(browser, work, "stitch a.h5 b.h5 -a anchors.h5 -m relative,ridge -s cosine")
    paper = "return getComputedStyle(document.body).backgroundColor"
    find(browser, "#theme-2").click()
    dark = browser.execute_script(paper)
    find(browser, "#theme-1").click()
    assert dark != browser.execute_script(paper) == "rgb(255, 255, 255)"
    find(browser, "#theme-2").click()
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert browser.execute_script(paper) == "rgb(255, 255, 255)" and not find(browser, "#themes").is_displayed()
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    nodes = browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    controls = {"button", "gridcell", "combobox", "searchbox", "radio", "image", "grid", "columnheader", "rowheader", "region"}
    nameless = [n["role"]["value"] for n in nodes if n.get("role", {}).get("value") in controls and not n["name"].get("value")]
    assert set(nameless) <= {"gridcell"} and len(nameless) == nameless.count("gridcell") <= 1, "the empty corner alone"
    assert browser.get_log("browser") == []


def test_evaluate_in_a_browser(browser: Any, work: Workdir) -> None:
    opened(browser, work, "evaluate a.h5 b.h5 --task knn,cluster,anomaly --anomalies b.h5")
    find(browser, "[data-row='1'][data-column='1']").click()
    assert text(browser, "#details h3").startswith("measure knn, f1, file b")
    assert [text(browser, f"#panels figure:nth-child({place}) h3") for place in (1, 2)] == ["b", "a"]
    find(browser, "[data-row='0'][data-column='0']").click()
    find(browser, "#details td button").click()  # a class
    marked = int(text(browser, "#marked").split()[0])
    assert marked > 9 and count(browser, "#panels path.on") == 2 * marked, "the items of the class, in both spaces"
    curve = browser.execute_script("return report.grids[0].rows.indexOf('anomaly, auc')")
    find(browser, f"[data-row='{curve}'][data-column='1']").click()
    assert count(browser, "#details path.roc") == 2 and "the other files" in text(browser, "#details")
    assert browser.get_log("browser") == []
    assert not {"null", "undefined", "NaN"} & set(re.findall(r"\w+", text(browser, "body")))


def test_stitch_in_a_browser(browser: Any, work: Workdir) -> None:
    """A cell leads to its classes, and to the same cell by another method; each result is one line of the table."""
    opened(browser, work, "stitch a.h5 b.h5 -a anchors.h5 -m absolute,ridge")
    assert text(browser, "#details h3") == "encoder a, head b" and "Classes, worst first" in text(browser, "#details")
    assert count(browser, "#table tbody tr") == 8
    find(browser, "#details tr:not(.here) td button").click()
    assert text(browser, "#details h3") == "encoder a, head b" and text(browser, "#details tr.here").startswith("ridge")
    find(browser, "#choice-shown option[value='accuracy']").click()
    assert text(browser, "#details .interval").startswith(" [") or "[" in text(browser, "#details .value")
    assert not {"null", "undefined", "NaN"} & set(re.findall(r"\w+", text(browser, "body")))
    assert browser.get_log("browser") == []


def test_text_of_files_does_not_run(browser: Any, work: Workdir) -> None:
    """Ids and labels that are mark-up are shown as text; the policy stops what tries to run, and what tries to load."""
    lines = [f"</script><img src=//x.invalid onerror=document.title='run'>{i}\t{i % 7}\t{i * i % 11}" for i in range(30)]
    for name in "ab":
        (work / f"{name}.tsv").write_text("\n".join(["id\tx\ty", *lines]) + "\n")
    opened(browser, work, "compare a.tsv b.tsv -m cosine")
    find(browser, "#details button.link").click()
    assert "<img src=//x.invalid" in text(browser, "#marked") and browser.title != "run" and count(browser, "img") == 0
    assert browser.get_log("browser") == []
    browser.execute_script("document.body.innerHTML = '<img src=https://x.invalid/a.png onerror=\"document.title=1\">'")
    assert any("Content Security Policy" in entry["message"] for entry in browser.get_log("browser"))
    assert browser.title != "1" and requested(browser) <= {"file", "data", "https"}
