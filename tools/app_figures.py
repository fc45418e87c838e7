"""Play with the app in a browser: pictures of its panels, and how long one waits for it.

    python tools/app_figures.py     needs Chromium or Chrome; starts the app by itself

Writes results/slider-latency.json (a move of the token slider, and the first picture), a picture of
each panel into images/panels for the site, and images/app-panels.png, the first two of them."""

import json
import sys
import tempfile
import time
from pathlib import Path
import imageio.v3 as iio
import numpy as np
import psutil
import torch
from playwright.sync_api import sync_playwright
from larp_edu.explore import replace_token, token_attention
from larp_edu.files import asset, write_bytes, write_json
from larp_edu.machine import provenance
from larp_edu.tokenizer import LARPTokenizer
from larp_edu.nested import NestedTokenizer
from larp_edu.widgets import example_clips

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / 'tests'))
from test_browser import CHROME, FLAGS, TITLES, Panel, app

WHAT = (
    'milliseconds from the event of the token slider to the decoded new picture, in Chromium, '
    'by key presses one after the other'
)
WHAT_FIRST = (
    'seconds from opening the page, right after the server answers, to the first picture; '
    'processor_s: of server, kernels and browser in that time; load: mean number of processes '
    'that ran or waited in the minute before'
)
CLIP = 4  # a vertical bar
NAMES = ('count', 'token', 'temperature', 'surprise', 'generation', 'mix')  # in the order of TITLES


def processor_seconds():
    "Used so far by all processes that this one started."
    children = psutil.Process().children(recursive=True)
    return sum(sum(p.cpu_times()[:2]) for p in children if p.is_running())


def first_picture(page, address):
    "Open the page and wait for a picture."
    start, used = time.time(), processor_seconds()
    page.goto(address)
    page.locator('figure img').first.wait_for()
    return dict(
        what=WHAT_FIRST,
        seconds=round(time.time() - start, 1),
        processor_s=round(processor_seconds() - used, 1),
        load=round(psutil.getloadavg()[0], 1),
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


def telling_token():
    """A token and a frame, from 1, of which all films of the second panel show something.

    The least of what they show is the largest: how much of the frame changes, and where the token
    looks, each as a share of the most that this film shows at any token and frame."""
    toks = (
        NestedTokenizer.load(asset('any_count.safetensors')),
        LARPTokenizer.load(asset('patch_tokenizer.safetensors')),
    )
    video = example_clips(toks[0].config)[CLIP].video
    shown = []
    for tok in toks:
        look = token_attention(tok, video).amax((2, 3))  # (n, t)
        look = look / look.amax(1, keepdim=True)
        shown.append(look.repeat_interleave(tok.config.patch[0], 1))
        pairs = [replace_token(tok, video, token, 7) for token in range(tok.config.n_tokens)]
        change = torch.stack([(a - b).abs().mean((0, 2, 3)) for a, b in pairs])
        shown.append(change / change.max())
    least = torch.stack(shown).amin(0)  # (n, T)
    token, frame = divmod(least.argmax().item(), least.shape[1])
    return token, frame + 1


def picture(panel, keys, frame, folder):
    "Move sliders, {name: keys}, stop at a frame, and take a picture: uint8 (H, W, 3)."
    for name, pressed in keys.items():
        panel.press(name, *pressed)
    panel.page.wait_for_timeout(1500)
    if panel.box.get_by_role('button', name='pause films').count():
        panel.pause_at(frame)
    panel.page.wait_for_timeout(300)
    panel.box.screenshot(path=folder / 'shot.png')
    pixels = iio.imread(folder / 'shot.png')[..., :3]
    used = (pixels < 250).any((0, 2)).nonzero()[0].max()
    return pixels[:, : used + 12]


def pictures(page, folder):
    "A picture of each panel, by name."
    token, frame = telling_token()
    right = ['ArrowRight']
    keys = dict(
        count=dict(tokens=['Home', *right * 11]),
        token=dict(token=right * token),
        temperature=dict(temperature=right * 12),
        generation={'seed': right, 'tokens so far': ['Home', *right * 3]},
    )
    found = {}
    for name, title in zip(NAMES, TITLES):
        page.get_by_role('tab', name=title).click()
        panel = Panel(page, title)
        menu = {'generation': 'class', 'mix': 'first'}.get(name, 'clip')
        panel.choose(menu, 'bar vertical')
        found[name] = picture(panel, keys.get(name, {}), frame, folder)
    return found


def png(pixels):
    return iio.imwrite('<bytes>', pixels, extension='.png', plugin='pillow', optimize=True)


def stack(pictures):
    "Pictures one below the other."
    wide = max(p.shape[1] for p in pictures)
    pads = [((0, 24), (0, wide - p.shape[1]), (0, 0)) for p in pictures]
    return np.concatenate([np.pad(p, pad, constant_values=255) for p, pad in zip(pictures, pads)])


def main():
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROME, args=FLAGS)
        page = browser.new_page(viewport=dict(width=1400, height=1400))
        page.set_default_timeout(120_000)
        with app(Path(folder)) as address:
            first = first_picture(page, address)
            result = dict(
                what=WHAT,
                command='python tools/app_figures.py',
                browser=browser.version,
                **moves(Panel(page, TITLES[0])),
                first_picture=first,
                **provenance(),
            )
            found = pictures(page, Path(folder))
        browser.close()
    for name, pixels in found.items():
        write_bytes(ROOT / f'images/panels/{name}.png', png(pixels))
    write_bytes(ROOT / 'images/app-panels.png', png(stack([found['count'], found['token']])))
    write_json(ROOT / 'results/slider-latency.json', result)
    print(json.dumps(result, indent=1))


if __name__ == '__main__':
    main()
