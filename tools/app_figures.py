"""Play with the app in a browser: how long a move of the token slider takes to results/slider-latency.json, a screenshot to images/app-panels.png.

python tools/app_figures.py        needs Chromium or Chrome; starts the app (`make app`) by itself"""

import json, sys, tempfile
from pathlib import Path
import imageio.v3 as iio, numpy as np
from playwright.sync_api import sync_playwright
from larp_edu.machine import provenance
from larp_edu.files import write_bytes

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / 'tests'))
from test_browser import CHROME, FLAGS, Panel, app


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
    tabs, shots = page.get_by_role('tab'), []
    for tab, title, name, keys in (
        (0, 'How many tokens?', 'tokens', ['Home'] + ['ArrowRight'] * 11),
        (1, 'What does this token hold?', 'token', ['ArrowRight'] * 25),
    ):
        tabs.nth(tab).click()
        panel = Panel(page, title)
        panel.choose('clip', 'bar vertical')
        page.wait_for_timeout(1000)
        panel.move(name, *keys)
        page.wait_for_timeout(300)  # in the first frames of the film
        path = folder / f'{tab}.png'
        panel.box.screenshot(path=path)
        shots.append(iio.imread(path)[..., :3])
    tall = max(s.shape[0] for s in shots)
    return iio.imwrite(
        '<bytes>',
        np.concatenate(
            [
                np.pad(s[:, :720], ((0, tall - len(s)), (0, 0), (0, 0)), constant_values=255)
                for s in shots
            ],
            1,
        ),
        extension='.png',
        optimize=True,
    )


if __name__ == '__main__':
    with (
        tempfile.TemporaryDirectory() as folder,
        sync_playwright() as p,
        app(Path(folder)) as (address, _),
    ):
        browser = p.chromium.launch(executable_path=CHROME, args=FLAGS)
        page = browser.new_page(viewport=dict(width=760, height=900))
        page.goto(address)
        result = dict(
            what='milliseconds from the event of the token slider to the decoded new picture, in Chromium, by key presses one after the other',
            command='python tools/app_figures.py',
            browser=browser.version,
            **moves(Panel(page, 'How many tokens?')),
            **provenance(),
        )
        write_bytes(ROOT / 'images/app-panels.png', screenshot(page, Path(folder)))
        browser.close()
    write_bytes(
        ROOT / 'results/slider-latency.json', (json.dumps(result, indent=1) + '\n').encode()
    )
    print(json.dumps(result, indent=1))
