"""The page in a real browser: python tests/browser.py results/demo/report/index.html [FOLDER]

Opens the page in a headless Chromium at the widths of phones and of a desk, refuses a page that is wider than its
window or a picture that does
not show, and leaves a screenshot of each width and the printed PDF in FOLDER (beside the page unless given). `make
browser` runs it on the demo.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

WIDTHS = (320, 390, 768, 1280)
PROBE = """<!doctype html><body><iframe src="{page}" style="border:0;width:{width}px;height:900px"></iframe>
<pre id="found"></pre><script>
document.querySelector("iframe").onload = event => {{
  const page = event.target.contentDocument, pictures = [...page.images];
  page.querySelectorAll("details").forEach(details => details.open = true);
  const root = page.documentElement;
  document.getElementById("found").textContent = "FOUND " + [root.scrollWidth, root.scrollHeight, pictures.length,
    pictures.filter(picture => picture.complete && picture.naturalWidth > 0).length].join(" ");
}};
</script></body>"""


def chromium(*options: str) -> str:
    """Run it and return what it prints."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        sys.exit("no Chromium here: apt-get install chromium")
    command = [
        program,
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        "--allow-file-access-from-files",
        *options,
    ]
    with tempfile.TemporaryDirectory() as profile:
        done = subprocess.run([*command, f"--user-data-dir={profile}"], capture_output=True, text=True, timeout=120)
    return done.stdout


def look(page: Path, folder: Path) -> list[str]:
    """What is wrong with the page, a sentence each."""
    faults = []
    folder.mkdir(parents=True, exist_ok=True)
    for width in WIDTHS:
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".html") as probe:
            probe.write(PROBE.format(page=page.resolve().as_uri(), width=width))
            probe.flush()
            text = chromium(
                "--dump-dom",
                "--virtual-time-budget=20000",
                f"--window-size={width + 60},1000",
                Path(probe.name).as_uri(),
            )
        found = re.search(r"FOUND (\d+) (\d+) (\d+) (\d+)", text)
        if not found:
            faults.append(f"{width} px: the page did not load")
            continue
        wide, high, pictures, shown = map(int, found.groups())
        print(f"{width} px: {wide} px wide, {high} px high, {shown} of {pictures} pictures show")
        if wide > width:
            faults.append(f"{width} px: the page is {wide} px wide, so that it scrolls sideways")
        if shown < pictures:
            faults.append(f"{width} px: {pictures - shown} of {pictures} pictures do not show")
        height = min(high, 16_000)
        chromium(
            f"--window-size={width},{height}", f"--screenshot={folder / f'page-{width}.png'}", page.resolve().as_uri()
        )
    chromium(f"--print-to-pdf={folder / 'page.pdf'}", "--no-pdf-header-footer", page.resolve().as_uri())
    return faults


if __name__ == "__main__":
    target = Path(sys.argv[1])
    faults = look(target, Path(sys.argv[2]) if len(sys.argv) > 2 else target.parent)
    sys.exit("\n".join(faults) or 0)
