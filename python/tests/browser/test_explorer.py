"""The report's explorer of neurons, by click and by keyboard."""

from __future__ import annotations

import re

import pytest


@pytest.fixture
def explorer(look, report):
    """The page, and which neurons its picker has."""
    shown = look(report)
    assert shown.page.locator("#explorer").count() == 1
    options = shown.page.locator("#neuron option").all()
    known = [option.get_attribute("value") for option in options]
    assert len(known) > 2 and len(set(known)) == len(known)
    return shown, known


def becomes(shown, neuron: str) -> None:
    """The card is soon of that neuron (a change of the address is told of a little later), and says so."""
    card = shown.page.locator(f"#neuron-card[data-neuron='{neuron}']")
    card.wait_for()
    assert re.search(rf"\b{neuron}\b", card.inner_text())


def test_a_choice_shows_that_neuron(explorer):
    shown, known = explorer
    becomes(shown, known[0])
    texts = set()
    for neuron in known[:3]:
        shown.page.locator("#neuron").select_option(neuron)
        becomes(shown, neuron)
        texts.add(shown.page.locator("#neuron-card").inner_text())
    assert len(texts) == 3
    assert shown.complaints() == []


def test_the_arrow_keys_go_from_neuron_to_neuron(explorer):
    shown, known = explorer
    shown.page.locator("#neuron").focus()
    for key, neuron in (("ArrowRight", known[1]), ("ArrowRight", known[2]), ("ArrowLeft", known[1])):
        shown.page.keyboard.press(key)
        becomes(shown, neuron)
        assert shown.page.locator("#neuron").input_value() == neuron
    assert shown.complaints() == []


def test_a_click_on_a_neuron_in_a_table_shows_it(explorer):
    shown, known = explorer
    links = shown.page.locator("a[href^='#neuron-']:visible")
    assert links.count() > 0
    names = [link.get_attribute("href").removeprefix("#neuron-") for link in links.all()]
    other = next(at for at, name in enumerate(names) if name != known[0])
    links.nth(other).click()
    becomes(shown, names[other])
    assert names[other] in known
    assert shown.page.locator("#neuron-card").is_visible()
    # By keyboard as well, and a link to a neuron opens the page there.
    links.first.focus()
    shown.page.keyboard.press("Enter")
    becomes(shown, names[0])
    shown.page.goto(shown.file.as_uri() + f"#neuron-{known[-1]}")
    shown.page.reload()
    becomes(shown, known[-1])


@pytest.mark.parametrize("width", [1280, 420])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_its_card_fits_and_can_be_read(look, report, width, scheme):
    shown = look(report, width, scheme)
    assert shown.page.locator("#explorer").count() == 1
    options = shown.page.locator("#neuron option").all()
    for option in (options[0], options[-1]):
        shown.page.locator("#neuron").select_option(option.get_attribute("value"))
        for check in ("overflowing", "broken", "faint", "overlapping"):
            assert shown.check(check) == []
        assert shown.check("tiny", 8.5) == []
    assert shown.complaints() == []
