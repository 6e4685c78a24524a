"""Opens pages in a headless Chromium, lets them test themselves, and tells what they found.

Each page is opened with `#selftest`: it searches, clicks, follows a cause, filters, measures its frames, and leaves the
result in its document as JSON, which is read from the dumped document.
"""

import html
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import time

LIMIT = 120
# What the browser says of the measuring of frames.
ADVICE = "Canvas2D: Multiple readback"
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1600,1000",
         "--enable-logging=stderr", "--virtual-time-budget=30000", "--dump-dom"]


def look(page):
    """What the page says of itself, and how long the browser took from its start to its end."""
    with tempfile.TemporaryDirectory() as profile:
        command = ["chromium", *FLAGS, f"--user-data-dir={profile}", f"file://{page}#selftest"]
        began = time.monotonic()
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False)
    found = re.search(r'<pre id="selftest">(.*?)</pre>', done.stdout, re.DOTALL)
    said = [line for line in re.findall(r'CONSOLE.*?"(.*)", source', done.stderr) if not line.startswith(ADVICE)]
    result = json.loads(html.unescape(found.group(1))) if found else None
    return result, said, time.monotonic() - began


def main(pages):
    failed = 0
    for page in pages:
        result, said, took = look(pathlib.Path(page).resolve())
        name = pathlib.Path(page).name
        is_good = result is not None and result["isGood"] and not said
        print(f"{'passed' if is_good else 'FAILED'}  {name}  browser {took:.1f} s")
        if result is None:
            print("    it says nothing of itself")
        else:
            times = ", ".join(f"{what} {value} ms" for what, value in result["milliseconds"].items())
            print(f"    {result['lanes']} lanes in {result['rows']} rows, {result['entries']} entries, {result['steps']} steps; {times}")
            for check, outcome in result["checks"].items():
                if outcome is not True:
                    print(f"    {check}: {outcome}")
            for error in result["errors"]:
                print(f"    error: {error}")
        for line in said:
            print(f"    console: {line}")
        failed += not is_good
    print(f"\n{len(pages) - failed} passed, {failed} failed")
    return 1 if failed or not pages else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
