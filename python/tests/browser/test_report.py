"""The report of a study as a reader meets it in a browser."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

import pytest

SCREENS = [(width, scheme) for width in (1280, 420) for scheme in ("light", "dark")]
TASKS = "nav a:not(.to)"


def opened_tasks(shown, soon: str = "task-1") -> list[str]:
    """The tasks that are shown, once that one is: a page hears of a change of its address a little later."""
    shown.page.locator(f"#{soon}").wait_for()
    return [task.get_attribute("id") for task in shown.page.locator("article.task").all() if task.is_visible()]


@pytest.mark.parametrize(("width", "scheme"), SCREENS)
def test_it_opens_without_a_complaint_and_asks_for_nothing(look, report, width, scheme):
    shown = look(report, width, scheme)
    for link in shown.page.locator(TASKS).all():
        link.click()
    for details in shown.page.locator("details:visible > summary").all():
        details.click()
    shown.page.wait_for_load_state("networkidle")
    assert shown.complaints() == []


def test_it_opens_at_once(look, report):
    timing = "performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd"
    milliseconds = look(report).page.evaluate(timing)
    print(f"{report.stat().st_size / 1000:.0f} kB: DOMContentLoaded after {milliseconds:.0f} ms")
    assert 0 < milliseconds < 5_000  # generous: a machine that runs tests is busy


@pytest.mark.parametrize(("width", "scheme"), SCREENS)
def test_everything_fits_and_can_be_read(look, report, width, scheme):
    shown = look(report, width, scheme)
    shown.page.evaluate("for (const part of document.querySelectorAll('details')) part.open = true")
    for link in shown.page.locator(TASKS).all():
        link.click()
        assert shown.check("count") > 500
        assert shown.check("overflowing") == []
        assert shown.check("broken") == []
        assert shown.check("faint") == []
        assert shown.check("tiny", 8.5) == []
        assert shown.check("overlapping") == []


def test_words_are_whole_on_every_screen(look, report):
    """Where a line ends depends on how long names and paths happen to be: widths stand in for those."""
    shown = look(report)
    shown.page.evaluate("for (const part of document.querySelectorAll('details')) part.open = true")
    for width in range(320, 1400, 35):
        shown.page.set_viewport_size({"width": width, "height": 900})
        assert (width, shown.check("broken")) == (width, [])


def test_a_click_and_the_keyboard_change_the_task(look, report):
    shown = look(report)
    assert opened_tasks(shown) == ["task-1"]
    shown.page.locator(TASKS).nth(1).click()
    assert opened_tasks(shown, "task-2") == ["task-2"] and shown.page.url.endswith("#task-2")
    assert shown.page.locator(f"{TASKS}[aria-current]").all_text_contents() == ["coarse"]
    shown.page.go_back()
    assert opened_tasks(shown) == ["task-1"]
    shown.page.locator(TASKS).first.focus()
    shown.page.keyboard.press("Tab")
    shown.page.keyboard.press("Enter")
    assert opened_tasks(shown, "task-2") == ["task-2"]
    shown.page.locator("nav a.to").first.click()
    assert opened_tasks(shown, "task-2") == ["task-2"], "a section of all tasks leaves the task open"
    assert shown.page.locator("#clusters h2").is_visible()


def test_a_link_to_a_task_opens_it(look, report):
    shown = look(report)
    shown.page.goto(report.as_uri() + "#task-2")
    assert opened_tasks(shown, "task-2") == ["task-2"]


@pytest.mark.parametrize("by", ["click", "Enter"])
def test_tables_are_sorted(look, report, by):
    shown = look(report)
    table = shown.page.locator("#task-1 h3:text('Minimal sets, retrained') ~ .scroll table")
    heads = table.locator("th").all_text_contents()
    column = heads.index("neurons")
    head = table.locator("th").nth(column)

    def values() -> list[float]:
        cells = table.locator(f"tbody td:nth-child({column + 1})").all()
        return [float(cell.get_attribute("data-sort")) for cell in cells]

    def act() -> None:
        if by == "click":
            head.click()
        else:
            head.focus()
            shown.page.keyboard.press("Enter")

    before = values()
    assert len(set(before)) > 1
    for order, backwards in (("ascending", False), ("descending", True)):
        act()
        assert head.get_attribute("aria-sort") == order
        assert values() == sorted(before, reverse=backwards)
    first = table.locator("th").nth(heads.index("ordering"))
    first.click()
    names = table.locator(f"tbody td:nth-child({heads.index('ordering') + 1})").all_text_contents()
    assert names == sorted(names, key=str.lower) and head.get_attribute("aria-sort") is None


def test_a_chart_reads_out_what_the_pointer_is_at(look, report):
    shown = look(report)
    for chart in shown.page.locator("#task-1 figure:has(svg.chart), #clusters figure:has(svg.chart)").all():
        chart.scroll_into_view_if_needed()
        drawing, out, cursor = chart.locator("svg"), chart.locator("output"), chart.locator(".cursor")
        assert out.text_content() == "" and not cursor.is_visible()
        box = drawing.bounding_box()
        said = []
        for share in (0.25, 0.6):
            shown.page.mouse.move(box["x"] + share * box["width"], box["y"] + box["height"] / 2)
            assert "on" in cursor.get_attribute("class").split()
            said.append(out.text_content())
        of = re.escape(drawing.get_attribute("data-of"))
        assert all(re.match(rf"{of} [^:]+:  .*\d", text) for text in said) and said[0] != said[1]
        shown.page.mouse.move(2, 2)
        assert out.text_content() == "" and "on" not in cursor.get_attribute("class").split()
    assert shown.complaints() == []


def test_a_csv_file_has_all_digits_and_runs_nothing(look, report, tmp_path):
    """A task that is called like a formula has an apostrophe before its name; numbers have none, below zero neither."""
    strange = tmp_path / "report.html"
    strange.write_text(report.read_text(encoding="utf-8").replace("coarse", "=1+coarse"), encoding="utf-8")
    shown = look(strange)
    head, *rows = shown.saved(shown.page.get_by_role("button", name="CSV of At a glance", exact=True))
    assert [row[0] for row in rows] == ["fine", "'=1+coarse"]
    table = shown.page.locator("h2:text('At a glance') + .scroll tbody tr")
    exact = [row.locator("td").nth(3).get_attribute("data-sort") for row in table.all()]
    assert [row[head.index("oracle, test")] for row in rows] == exact and all(len(digits) > 5 for digits in exact)
    head, *rows = shown.saved(shown.page.locator("#task-1 h3:text('Minimal sets, retrained') ~ .csvs button").first)
    differences = [row[head.index("− oracle, points (95 %), low")] for row in rows]
    assert min(map(float, differences)) < 0
    assert shown.complaints() == []


def test_texts_that_a_spreadsheet_would_run_are_those_of_the_tables(look, report, tmp_path):
    """The texts by which the writer of ``tables/*.csv`` is tested go through the page's figures."""
    texts = json.loads((Path(__file__).parents[3] / "tests" / "report" / "formulas.json").read_text(encoding="utf-8"))
    formulas, others = texts["formulas"], texts["others"]
    values = html.escape(json.dumps([["text", "one"], [[text, 1] for text in formulas + others]]))
    before, figure, after = re.split(r'data-values="[^"]*"(><h4>Time<)', report.read_text(encoding="utf-8"))
    strange = tmp_path / "report.html"
    strange.write_text(f'{before}data-values="{values}"{figure}{after}', encoding="utf-8")
    shown = look(strange)
    _, *rows = shown.saved(shown.page.locator("figure:has(> h4:text-is('Time')) button.csv"))
    assert rows == [["'" + text, "1"] for text in formulas] + [[text, "1"] for text in others]
    assert shown.complaints() == []


@pytest.mark.parametrize("named", ["python-tokens", "a study with a long name " * 8])
def test_every_csv_file_has_a_name_of_its_own(look, report, tmp_path, named):
    """Tables have the heading of their section, not that of a chart before them; names that would be the same have a number."""
    renamed = tmp_path / "report.html"
    page = report.read_text(encoding="utf-8").replace('id="study">python-tokens<', f'id="study">{named}<')
    renamed.write_text(page.replace("<b>coarse</b>", "<b>fine.</b>"), encoding="utf-8")
    shown = look(renamed)
    names = shown.names_of_files()
    assert len(names) > 50 and len({name.lower() for name in names}) == len(names)
    start = re.sub(r"\W+", "-", named)[:50].strip("-") + "-Task-fine-Minimal-sets-retrained"
    assert f"{start}.csv" in names and f"{start} (2).csv" in names
    assert max(map(len, names)) < 150
    titles = [button.get_attribute("aria-label") for button in shown.page.locator("#task-1 button.csv").all()]
    assert len(titles) > 15 and len(set(titles)) == len(titles)
    assert shown.complaints() == []


def test_on_paper_everything_is_there(look, report):
    shown = look(report)
    assert shown.page.locator("details:not([open])").count() > 0
    shown.page.emulate_media(media="print", color_scheme="dark")
    assert opened_tasks(shown) == ["task-1", "task-2"]
    assert not shown.page.locator("nav").is_visible()
    assert shown.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert shown.page.pdf().startswith(b"%PDF")
    assert shown.page.locator("details:not([open])").count() == 0
    assert shown.check("faint") == []


def test_on_paper_what_is_closed_is_open_without_scripts_too(look, report):
    shown = look(report, scripts=False)
    tables = shown.page.locator("details:not([open]) table").all()
    assert tables and not any(table.is_visible() for table in tables)
    shown.page.emulate_media(media="print")
    assert all(table.is_visible() for table in tables)


@pytest.mark.parametrize("width", [1280, 420])
def test_without_scripts_everything_can_be_read(look, report, width):
    shown = look(report, width, scripts=False)
    assert opened_tasks(shown) == ["task-1", "task-2"]
    headings = shown.page.locator("h2, h3").all()
    assert len(headings) > 20 and all(heading.is_visible() for heading in headings)
    for details in shown.page.locator("details").all():
        details.locator("summary").click()
        assert details.locator("table").is_visible()
    assert shown.check("overflowing") == []
    assert shown.complaints() == []
