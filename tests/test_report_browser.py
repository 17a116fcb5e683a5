"""The report in a real browser, if one is installed: nothing is requested, nothing overflows."""

import html
import json
import re
import shutil
import subprocess

import numpy as np
import pytest

from geomstats_vae.models import VAE
from geomstats_vae.report import Inputs, ReportOptions, build_report
from geomstats_vae.report.reading import layout_of

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]

# What a page does that asks for something, and what sticks out of it, as a line of JSON in it.
PROBE = """<script>
addEventListener("load", () => {
  const width = document.documentElement.clientWidth, out = [];
  for (const element of document.querySelectorAll("main *"))
    if (!element.closest(".scroll") && element.getBoundingClientRect().right > width + 1)
      out.push(element.tagName);
  const image = document.querySelector("[data-grid='1'] img"), box = image.getBoundingClientRect();
  image.dispatchEvent(new PointerEvent("pointermove", {bubbles: true,
    clientX: box.left + box.width / 2, clientY: box.top + box.height / 2}));
  const found = {
    width, scroll: document.documentElement.scrollWidth, out,
    asked: performance.getEntriesByType("resource").map((e) => e.name)
      .filter((name) => !name.startsWith("data:")),
    broken: [...document.images].filter((image) => !image.naturalWidth).length,
    tip: document.querySelector(".tip").textContent,
    dark: getComputedStyle(document.documentElement).colorScheme
      && matchMedia("(prefers-color-scheme: dark)").matches,
  };
  document.documentElement.dataset.found = JSON.stringify(found);
});
</script></body>"""


@pytest.fixture(scope="module")
def page(digits, tmp_path_factory):
    """A report with all that a page can have."""
    folder = tmp_path_factory.mktemp("browser")
    rows = np.concatenate([np.flatnonzero(digits.target == k)[:20] for k in (0, 1, 4)])
    X, labels = digits.data[rows], digits.target[rows]
    sizes = {"hidden_dims": (16,), "max_epochs": 30, "n_centers": 8, "zeta": 1.0}
    VAE(random_state=0, **sizes).fit(X).save(folder / "vae.safetensors")
    options = ReportOptions(n_matrix=12, n_mean=5, mean_max_iter=2, n_sensitivity=10, n_cells=60)
    inputs = Inputs("a_name_without_any_space_" * 5, X, labels, layout_of((8, 8)))
    out = folder / "out"
    model = folder / "vae.safetensors"
    return build_report(inputs, out, model=model, n_pairs=8, quiet=True, options=options)


def opened(page, tmp_path, width, *, dark):
    """Open a page in a frame of some width, and return what the probe found."""
    probed = tmp_path / "probed.html"
    probed.write_text(page.read_text(encoding="utf-8").replace("</body>", PROBE), encoding="utf-8")
    frame = tmp_path / "frame.html"
    frame.write_text(
        f'<iframe src="probed.html" width="{width}" height="800" style="border:0"></iframe><script>'
        "addEventListener('load', () => document.body.append('FOUND' + document.querySelector("
        "'iframe').contentDocument.documentElement.dataset.found + 'END'));</script>",
        encoding="utf-8",
    )
    command = [
        *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
        *("--disable-quic", "--allow-file-access-from-files", f"--user-data-dir={tmp_path / 'u'}"),
        f"--blink-settings=preferredColorScheme={0 if dark else 1}",
        *("--window-size=1400,900", "--virtual-time-budget=5000", "--dump-dom", frame.as_uri()),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return json.loads(re.search(r"FOUND(\{.*?\})END", html.unescape(done.stdout))[1])


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_requested_and_nothing_overflows(page, tmp_path, width, dark):
    found = opened(page, tmp_path, width, dark=dark)
    assert found["asked"] == []
    assert found["out"] == []
    assert found["scroll"] <= found["width"] <= width
    assert found["broken"] == 0
    assert "volume density" in found["tip"]
    assert found["dark"] is dark
