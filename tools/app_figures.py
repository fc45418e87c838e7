"""Play with the app in a browser, and measure how long a move of the token slider takes.

    python tools/app_figures.py     needs Chromium or Chrome; starts the app by itself

Writes results/slider-latency.json and the screenshot images/app-panels.png."""

import json
import sys
import tempfile
from pathlib import Path
import imageio.v3 as iio
import numpy as np
from playwright.sync_api import sync_playwright
from larp_edu.files import write_bytes
from larp_edu.machine import provenance

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / 'tests'))
from test_browser import CHROME, FLAGS, Panel, app

WHAT = (
    'milliseconds from the event of the token slider to the decoded new picture, in Chromium, '
    'by key presses one after the other'
)
SHOWN = (  # tab, title of the panel, slider, keys
    (0, 'How many tokens?', 'tokens', ['Home'] + ['ArrowRight'] * 11),
    (1, 'What does this token hold?', 'token', ['ArrowRight'] * 25),
)


def moves(panel):
    "Figures of 124 moves of the token slider."
    times = panel.move('tokens', *(['ArrowLeft'] * 31 + ['ArrowRight'] * 31) * 2)
    return dict(
        moves=len(times),
        median=round(np.median(times), 1),
        p95=round(np.quantile(times, 0.95), 1),
        slowest=round(max(times), 1),
    )


def screenshot(page, folder):
    "Two panels side by side, as the bytes of a PNG."
    shots = []
    for tab, title, name, keys in SHOWN:
        page.get_by_role('tab').nth(tab).click()
        panel = Panel(page, title)
        panel.choose('clip', 'bar vertical')
        page.wait_for_timeout(1000)
        panel.move(name, *keys)
        page.wait_for_timeout(300)  # in the first frames of the film
        path = folder / f'{tab}.png'
        panel.box.screenshot(path=path)
        shots.append(iio.imread(path)[:, :720, :3])
    tall = max(len(s) for s in shots)
    pads = [((0, tall - len(s)), (0, 0), (0, 0)) for s in shots]
    padded = [np.pad(s, pad, constant_values=255) for s, pad in zip(shots, pads)]
    return iio.imwrite('<bytes>', np.concatenate(padded, 1), extension='.png', optimize=True)


def main():
    with (
        tempfile.TemporaryDirectory() as folder,
        sync_playwright() as p,
        app(Path(folder)) as address,
    ):
        browser = p.chromium.launch(executable_path=CHROME, args=FLAGS)
        page = browser.new_page(viewport=dict(width=760, height=900))
        page.goto(address)
        result = dict(
            what=WHAT,
            command='python tools/app_figures.py',
            browser=browser.version,
            **moves(Panel(page, 'How many tokens?')),
            **provenance(),
        )
        write_bytes(ROOT / 'images/app-panels.png', screenshot(page, Path(folder)))
        browser.close()
    text = json.dumps(result, indent=1) + '\n'
    write_bytes(ROOT / 'results/slider-latency.json', text.encode())
    print(text, end='')


if __name__ == '__main__':
    main()
