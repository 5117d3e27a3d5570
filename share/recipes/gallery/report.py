"""Some sections of a report as a picture: report.py PAGE.html OUT.png SECTION ...

A section is named by the id of its heading, as in the list of contents.  Needs chromium on the PATH, and
Pillow, which comes with matplotlib.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image, ImageChops

WIDTH, HEIGHT, MARGIN = 780, 3000, 10

page, out, *names = sys.argv[1:]
text = Path(page).read_text()
head, *parts = re.split(r"(?=<h2\b)", text)
wanted = [part for part in parts if any(part.startswith(f'<h2 id="{name}"') for name in names)]
if len(wanted) != len(names):
    known = ", ".join(re.findall(r'<h2 id="([^"]+)"', text))
    sys.exit(f"{page} has the sections {known}")
with tempfile.TemporaryDirectory() as folder:
    some, shot = Path(folder, "some.html"), Path(folder, "some.png")
    style = head[: head.index("<body")]
    some.write_text(f"{style}<body>{''.join(wanted)}</body></html>")
    size = f"--window-size={WIDTH},{HEIGHT}"
    command = ["chromium", "--headless", "--no-sandbox", "--hide-scrollbars", size, f"--screenshot={shot}"]
    subprocess.run([*command, some.as_uri()], check=True, capture_output=True)
    picture = Image.open(shot).convert("RGB")
    _, _, right, lower = ImageChops.invert(picture).getbbox()
    picture = picture.crop((0, 0, WIDTH, min(lower + MARGIN, HEIGHT)))
    picture.quantize(64).save(out, optimize=True)
