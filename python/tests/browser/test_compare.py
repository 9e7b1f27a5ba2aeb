"""The page of ``neurosieve compare``, of two runs and of three, in a browser."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SCREENS = [(width, scheme) for width in (1280, 420) for scheme in ("light", "dark")]

# Another model's results in little time: what is compared is here, the rest of a study is not.
FEW = {
    "seed": 1,
    "probe": {"lambda_ratios": [0.1, 0.03], "relative_gap": 1e-2},
    "clusters": {"thresholds": [0.3, 0.7]},
    "layers": {"deltas": [0.03]},
    "minimal_set": {"deltas": [0.03], "bootstrap": 0, "random_sets": 0, "disjoint": 0},
    "combined": {"thresholds": [0.3], "deltas": [0.03]},
    "control": {"draws": 2},
}


def changed(tokens: Path, folder: Path, name: str, change) -> dict:
    """The specification of a study of changed activations."""
    from safetensors import safe_open
    from safetensors.numpy import save_file

    parts = {}
    for part in ("train", "dev", "test"):
        with safe_open(tokens / f"{part}.safetensors", "numpy") as file:
            tensors, metadata = {key: file.get_tensor(key) for key in file.keys()}, file.metadata()  # noqa: SIM118
        tensors["activations"] = change(tensors["activations"], metadata)
        parts[part] = folder / f"{name}-{part}.safetensors"
        save_file(tensors, parts[part], metadata)
    return FEW | {"name": name, "data": parts | {"tasks": ["coarse"]}}


@pytest.fixture(scope="module")
def noisy(engine, tokens, tmp_path_factory) -> Path:
    """A run of the same neurons, which know less."""
    random = np.random.default_rng(3)

    def noise(x, metadata):
        return (x + x.std(axis=0) * random.normal(size=x.shape)).astype(x.dtype)

    folder = tmp_path_factory.mktemp("noisy")
    engine.study(changed(tokens, folder, "noisy", noise)).save(folder / "out")
    return folder / "out"


@pytest.fixture(scope="module")
def low(engine, tokens, tmp_path_factory) -> Path:
    """A run of other neurons: the lowest layers alone."""

    def lowest(x, metadata):
        layers, units = json.loads(metadata["layers"])[:4], int(metadata["hidden"])
        metadata["layers"] = json.dumps(layers)
        return np.ascontiguousarray(x[:, : len(layers) * units])

    folder = tmp_path_factory.mktemp("low")
    engine.study(changed(tokens, folder, "low", lowest)).save(folder / "out")
    return folder / "out"


def compared(folder: Path, *runs: object) -> Path:
    line = [sys.executable, "-m", "neurosieve", "compare", *map(str, runs), "-o", str(folder / "compare.json")]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "compare.html"


@pytest.fixture(scope="module")
def two(studied, noisy, tmp_path_factory) -> Path:
    transfer = ("--transfer", "--random-sets", 3, "--device", "cpu")
    return compared(tmp_path_factory.mktemp("two"), studied, noisy, *transfer)


@pytest.fixture(scope="module")
def three(studied, noisy, low, tmp_path_factory) -> Path:
    return compared(tmp_path_factory.mktemp("three"), studied, noisy, low)


@pytest.fixture(params=["two", "three"])
def page(request) -> Path:
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize(("width", "scheme"), SCREENS)
def test_it_fits_and_has_no_complaint(look, page, width, scheme):
    shown = look(page, width, scheme)
    for details in shown.page.locator("details:visible > summary").all():
        details.click()
    assert shown.check("count") > 200
    for check in ("overflowing", "broken", "faint", "overlapping"):
        assert shown.check(check) == []
    assert shown.check("tiny", 8.5) == []
    assert shown.complaints() == []


def test_every_csv_file_has_a_name_of_its_own(look, three):
    shown = look(three)
    names = shown.names_of_files()
    assert len(names) > 8 and len(set(names)) == len(names)
    titles = {button.get_attribute("aria-label") for button in shown.page.locator("button.csv").all()}
    assert "CSV of Task coarse Where the salient neurons sit" in titles and len(titles) == len(names)


def test_its_figures_are_those_of_the_document(look, three):
    document = json.loads(three.with_suffix(".json").read_text(encoding="utf-8"))
    shown = look(three)
    assert [len(pair["tasks"]) for pair in document["pairs"]] == [1, 1, 1]
    table = shown.page.locator("h4:text('Each two of them') + .scroll tbody tr")
    rows = table.all()
    assert len(rows) == len(document["pairs"])
    for row, pair in zip(rows, document["pairs"], strict=True):
        runs, difference = row.locator("td").nth(0), row.locator("td").nth(1)
        assert re.findall(r"\d+", runs.text_content()) == [str(run + 1) for run in pair["runs"]]
        assert float(difference.get_attribute("data-sort")) == pair["tasks"][0]["oracle"]["difference"]


def test_a_chart_reads_out_every_run(look, three):
    shown = look(three)
    chart = shown.page.locator("figure.wide:has(svg.chart)")
    chart.scroll_into_view_if_needed()
    box = chart.locator("svg").bounding_box()
    shown.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    said = chart.locator("output").text_content()
    assert all(re.search(rf"run {run} \d+\.\d %", said) for run in (1, 2, 3)), said


def test_the_depths_of_salient_neurons_are_read_out_and_saved_as_they_are(look, three):
    runs = json.loads(three.with_suffix(".json").read_text(encoding="utf-8"))["runs"]
    depths = []
    for run in runs:
        found = next(found for found in run["found"] if found["name"] == "coarse")
        counts = np.array(found["salient_by_layer"])
        depths.append((np.arange(len(counts)) / (len(counts) - 1), np.cumsum(counts) / counts.sum()))
    shown = look(three)
    chart = shown.page.locator("figure.wide:has(svg.chart)")
    _, *rows = shown.saved(chart.locator("button.csv"))
    for at, (depth, share) in enumerate(depths):
        saved = [row[1:3] for row in rows if row[0] == f"run {at + 1}"]
        assert np.array_equal(np.array(saved, float), np.column_stack([depth, share]))
    # In the middle between two layers of the third run the lower one holds.
    box = chart.locator("svg").bounding_box()
    left, _, right, _ = map(float, chart.locator("svg").get_attribute("data-plot").split())
    wide = float(chart.locator("svg").get_attribute("viewBox").split()[2])
    chart.locator("svg").hover(position={"x": (left + right) / 2 / wide * box["width"], "y": box["height"] / 2})
    said = chart.locator("output").text_content()
    assert len(depths[2][0]) == 4 and " 0.5:" in said, said
    for at, (depth, share) in enumerate(depths):
        held = share[depth <= 0.5 + 1e-9][-1]
        assert f"run {at + 1} {held * 100:.1f} %" in said, said
    assert "(at" not in said


@pytest.mark.parametrize("by", ["click", "Enter"])
def test_its_tables_are_sorted(look, three, by):
    shown = look(three)
    head = shown.page.locator("#clusters th").nth(1)
    head.click() if by == "click" else (head.focus(), shown.page.keyboard.press("Enter"))
    cells = shown.page.locator("#clusters tbody td:nth-child(2)").all()
    values = [float(cell.get_attribute("data-sort")) for cell in cells]
    assert len(set(values)) > 1 and values == sorted(values) and head.get_attribute("aria-sort") == "ascending"


def test_without_scripts_and_on_paper_everything_is_there(look, two):
    shown = look(two, scripts=False)
    assert all(heading.is_visible() for heading in shown.page.locator("h2, h3").all())
    sets = json.loads(two.with_suffix(".json").read_text(encoding="utf-8"))["pairs"][0]["tasks"][0]["transfer"]
    assert len(sets) == 2, "one of each ordering"
    # Of three random sets no p is below 1/4.
    assert shown.page.locator(".answers li").last.locator("b").inner_text() == "0 of 2"
    paper = look(two)
    paper.page.pdf()
    assert paper.page.locator("details").count() > 0 and paper.page.locator("details:not([open])").count() == 0
