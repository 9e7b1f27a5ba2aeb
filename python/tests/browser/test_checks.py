"""Every check that the pages are put to can fail."""

from __future__ import annotations

import pytest

FINE = "<p>fine</p>"


def test_a_page_without_a_fault_has_no_complaints(look, page_of):
    shown = look(page_of(FINE))
    assert shown.complaints() == []
    for check in ("overflowing", "broken", "faint", "overlapping"):
        assert shown.check(check) == []
    assert shown.check("tiny", 9) == [] and shown.check("count") == 1


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("<script>nothing.there();</script>", "error: nothing is not defined"),
        ("<script>console.error('no')</script>", "console, error: no"),
        ("<script>console.warn('hm')</script>", "console, warning: hm"),
        ('<img src="https://example.invalid/a.png">', "request: https://example.invalid/a.png"),
        ('<link rel="stylesheet" href="beside.css">', "beside.css"),
        ('<script>fetch("https://example.invalid/").catch(() => 0)</script>', "request: https://example.invalid/"),
        ('<div style="background: url(https://example.invalid/b.png)">b</div>', "request: https://example.invalid/b.png"),
    ],
)
def test_errors_and_requests_are_heard(look, page_of, body, said):
    shown = look(page_of(FINE + body))
    shown.page.wait_for_load_state("networkidle")
    assert any(said in complaint for complaint in shown.complaints()), shown.complaints()


def test_what_a_policy_forbids_is_heard(look, page_of):
    policy = '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'">'
    [complaint] = look(page_of("<style>p { color: red }</style>" + FINE, policy)).complaints()
    assert "Content Security Policy" in complaint


def test_text_that_does_not_fit_is_seen(look, page_of):
    wide = look(page_of('<p style="width: 1400px">wide</p>'))
    assert wide.check("overflowing") == ["the page is 1408 px wide in 1280 px"]
    long = "word" * 30
    hidden = look(page_of(f'<div style="width: 50px; overflow: hidden">{long}</div>'))
    assert len(hidden.check("overflowing")) == 1 and "is cut off" in hidden.check("overflowing")[0]
    left = look(page_of('<p style="margin-left: -30px">left</p>'))
    assert len(left.check("overflowing")) == 1
    low = look(page_of('<div style="height: 10px; overflow: hidden">one<br>two</div>'))
    assert len(low.check("overflowing")) == 1
    scrolled = look(page_of(f'<div style="width: 50px; overflow: auto">{long}</div>'))
    assert scrolled.check("overflowing") == []


@pytest.mark.parametrize(
    ("style", "ratio"),
    [
        ("color: #777", 4.48),  # of WCAG's own examples
        ("color: #00000066", 2.85),
        ("background: #000; color: color-mix(in srgb, white 40%, black)", 3.66),
    ],
)
def test_faint_text_is_seen(look, page_of, style, ratio):
    [complaint] = look(page_of(f'<p style="{style}">faint</p>')).check("faint")
    assert f"a contrast of {ratio}, not 4.5" in complaint
    assert look(page_of(f'<p style="{style.replace("#777", "#767676").replace("66", "99").replace("40%", "60%")}">x</p>')).check("faint") == []


def test_large_text_may_be_fainter(look, page_of):
    assert look(page_of('<p style="color: #888; font-size: 24px">large</p>')).check("faint") == []
    assert len(look(page_of('<p style="color: #999; font-size: 24px">large</p>')).check("faint")) == 1


def test_small_text_and_texts_on_each_other_are_seen(look, page_of):
    drawing = '<svg viewBox="0 0 200 50" width="{width}"><text x="5" y="20">one</text><text x="{x}" y="22">two</text></svg>'
    small = look(page_of(drawing.format(width=100, x=60)))
    assert len(small.check("tiny", 9)) == 2 and small.check("overlapping") == []
    close = look(page_of(drawing.format(width=200, x=20)))
    assert close.check("tiny", 9) == [] and len(close.check("overlapping")) == 1


def test_broken_words_are_seen(look, page_of):
    narrow = look(page_of('<p style="width: 60px; overflow-wrap: anywhere">KEYWORDS of no</p>'))
    assert [complaint.split('"')[1] for complaint in narrow.check("broken")] == ["KEYWORDS"]
    assert look(page_of('<p style="width: 60px">KEYWORDS of no</p>')).check("broken") == []


def test_what_is_not_shown_is_not_judged(look, page_of):
    shown = look(page_of('<p style="display: none; color: white">no</p><details><summary>more</summary><p>x</p></details>'))
    assert shown.check("faint") == [] and shown.check("count") == 1
