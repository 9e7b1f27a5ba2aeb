"""Makes the pictures of ``docs/report.md`` and of the README anew: ``python docs/screenshots.py``.

It needs the package with its extra ``test``, Pillow and Chromium. The pages are those of the study of
``fixtures/python-tokens``, and of its comparison with the same study of activations with as much noise as signal.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, sync_playwright
from safetensors import safe_open
from safetensors.numpy import save_file

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs/images"
TOKENS = ROOT / "fixtures/python-tokens"
LARGEST = 300_000  # bytes of a picture
MARGIN = 14  # pixels above and below what a picture is of

# Sections of a task, by their headings.
SECTIONS = {
    "answer": "The answer in five points",
    "layers": "Accuracy by layer",
    "few": "Few neurons of the same probe",
    "minimal": "Minimal sets, retrained",
    "sure": "How sure are these sets?",
    "together": "Layer selection, clustering and ranking together",
    "where": "Where the salient neurons sit",
    "neurons": "Salient neurons",
    "selectivity": "Control task and selectivity",
    "path": "The oracle and its λ path",
}


def command(folder: Path, *arguments: object) -> None:
    line = [sys.executable, "-m", "neurosieve", *map(str, arguments)]
    subprocess.run(line, cwd=folder, check=True, stdout=subprocess.DEVNULL)


def noisy(folder: Path) -> None:
    """The same study with noise on every neuron, of the neuron's own standard deviation."""
    random = np.random.default_rng(0)
    shutil.copytree(TOKENS, folder)
    for part in ("train", "dev", "test"):
        file = folder / f"{part}.safetensors"
        with safe_open(file, "numpy") as tensors:
            read, metadata = {key: tensors.get_tensor(key) for key in tensors.keys()}, tensors.metadata()  # noqa: SIM118
        x = read["activations"]
        read["activations"] = (x + x.std(axis=0) * random.normal(size=x.shape)).astype(x.dtype)
        save_file(read, file, metadata)
    specification = folder / "study.toml"
    specification.write_text(specification.read_text().replace('"python-tokens"', '"with noise"'))


def opened(browser: Browser, file: Path, width: int = 1280, scheme: str = "light") -> Page:
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, reduced_motion="reduce")
    page = context.new_page()
    page.goto(file.as_uri())
    return page


def kept(file: Path, picture: bytes) -> None:
    """A page has few colours: a palette of 256 looks the same in a third of the bytes."""
    whole = Image.open(io.BytesIO(picture)).convert("RGB")
    few = whole.quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=3, dither=Image.Dither.NONE)
    few.save(file, optimize=True)
    size = file.stat().st_size
    if size > LARGEST:
        raise SystemExit(f"{file.name} has {size} bytes; {LARGEST} are allowed")
    print(f"{file.relative_to(ROOT)}: {size / 1000:.0f} kB")


def between(page: Page, first: Locator | None, last: Locator) -> bytes:
    """The page's whole width from the top of one element (or of the page) to the bottom of another."""
    below = last.bounding_box()
    above = first.bounding_box() if first else {"y": 0}
    assert above and below
    top = max(0, above["y"] - MARGIN)
    width = page.evaluate("document.documentElement.clientWidth")
    height = below["y"] + below["height"] + MARGIN - top
    return page.screenshot(full_page=True, clip={"x": 0, "y": top, "width": width, "height": height})


def section(page: Page, heading: str) -> Locator:
    return page.locator(f'#task-1 section:has(> h3:text-is("{heading}"))')


def of_report(browser: Browser, report: Path) -> None:
    page = opened(browser, report)
    kept(IMAGES / "glance.png", between(page, None, page.locator("#tasks")))
    for name, heading in SECTIONS.items():
        part = section(page, heading)
        kept(IMAGES / f"{name}.png", between(page, part, part))
    part = page.locator("#explorer")
    kept(IMAGES / "explorer.png", between(page, part, part))
    part, correlations = page.locator("#clusters"), page.locator('#clusters > h3:text-is("Correlations of all neurons")')
    kept(IMAGES / "redundancy.png", between(page, part, page.locator('#clusters figure:has(> h4:text-is("Cuts"))')))
    kept(IMAGES / "map.png", between(page, correlations, part))
    dark = opened(browser, report, scheme="dark")
    kept(IMAGES / "dark.png", between(dark, dark.locator("#tasks"), section(dark, SECTIONS["layers"])))
    for scheme in ("light", "dark"):
        narrow = opened(browser, report, 420, scheme)
        start, end = section(narrow, SECTIONS["layers"]), section(narrow, SECTIONS["few"])
        kept(IMAGES / f"narrow-{scheme}.png", between(narrow, start, end))
    # The README's: what was found, and the two kinds of curves that it rests on.
    page = opened(browser, report, 1120)
    end = section(page, SECTIONS["few"]).locator("figure").first
    kept(ROOT / ".github/report.png", between(page, page.locator("#tasks"), end))


def of_comparison(browser: Browser, comparison: Path) -> None:
    page = opened(browser, comparison)
    end = page.locator('#task-1 section:has(> h3:text-is("Where the salient neurons sit"))')
    kept(IMAGES / "compare.png", between(page, None, end))


def main() -> None:
    IMAGES.mkdir(exist_ok=True)
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        raise SystemExit("there is no Chromium: install the system's chromium")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        shutil.copytree(TOKENS, out / "python-tokens")
        noisy(out / "with-noise")
        # From within, so that no page has a path of this machine.
        for name in ("python-tokens", "with-noise"):
            command(out, "study", f"{name}/study.toml", "-o", f"out/{name}", "--device", "cpu")
        runs = ("out/python-tokens", "out/with-noise")
        command(out, "compare", *runs, "--transfer", "--random-sets", 80, "--device", "cpu", "-o", "out/compare.json")
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=path)
            of_report(browser, out / "out/python-tokens/report.html")
            of_comparison(browser, out / "out/compare.html")
            browser.close()


if __name__ == "__main__":
    main()
