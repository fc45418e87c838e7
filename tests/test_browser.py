"""The panels of the page explore in a real browser: in JupyterLab, and as an app in voila.

They need Chromium (or Chrome) and `playwright`; without them the tests are skipped, or fail if
LARP_REQUIRE_BROWSER is set, as in CI."""

import base64
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
import imageio.v3 as iio
import numpy as np
import pytest
import torch
from larp_edu.clips import to_uint8
from larp_edu.demo import LivePage
from larp_edu.explore import render_count, render_generation, render_mix
from larp_edu.explore import render_temperature, render_token
from larp_edu.files import asset
from larp_edu.generator import ARTransformer
from larp_edu.metrics import psnr
from larp_edu.nested import NestedTokenizer
from larp_edu.sampling import generate
from larp_edu.story import PairRecipe
from larp_edu.tokenizer import LARPTokenizer, tokenizer_presets
from larp_edu.video import write_video
from larp_edu.widgets import Slider, example_clips, films_html, read_clip

ROOT = Path(__file__).resolve().parents[1]
PAGE = 'nbs/32_explore.ipynb'
EXPLORE = 'Explore: tokens under your fingers'  # its title
TITLES = (  # of the panels, and of the app's tabs
    'How many tokens?',
    'What does this token hold?',
    "The quantiser's temperature",
    'What surprises the generator?',
    'Generate',
    'Mix two clips',
)
SHOTS = ROOT / 'runs/browser'  # screenshots of the last run
NAMES = ('chromium', 'chromium-browser', 'google-chrome')
CHROME = next((path for path in map(shutil.which, NAMES) if path), None)
FLAGS = (
    '--no-sandbox --disable-gpu --disable-quic --no-first-run '
    '--disable-background-networking --disable-component-update --disable-sync'
).split()


@pytest.fixture(scope='module')
def browser():
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        sync_playwright = None
    if not (CHROME and sync_playwright):
        missing = 'no Chromium or Chrome here' if sync_playwright else 'playwright is not installed'
        if os.environ.get('LARP_REQUIRE_BROWSER'):
            pytest.fail(missing)
        pytest.skip(f'{missing}: the panels were not tried in a browser')
    with sync_playwright() as p:
        b = p.chromium.launch(executable_path=CHROME, args=FLAGS)
        yield b
        b.close()


@pytest.fixture(scope='module')
def models():
    torch.set_num_threads(1)
    return (
        NestedTokenizer.load(asset('any_count.safetensors')),
        LARPTokenizer.load(asset('patch_tokenizer.safetensors')),
        ARTransformer.load(asset('any_count_generator.safetensors')),
    )


# ---- servers


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


def wait_until_up(process, address, log):
    "Wait until a server answers, if only with an error."
    for _ in range(300):
        assert process.poll() is None, log.read_text()
        try:
            urllib.request.urlopen(address, timeout=2)
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.2)
            continue
        return
    raise AssertionError(log.read_text())


@contextmanager
def server(tmp, path, *command):
    "A server on a free port, with a home of its own; yields its address."
    port = str(free_port())
    env = dict(
        os.environ,
        HOME=str(tmp),
        JUPYTERLAB_SETTINGS_DIR=str(tmp / 'settings'),
        PATH=f'{Path(sys.executable).parent}:{os.environ["PATH"]}',
        PYTHONPATH=str(ROOT),
    )
    env.pop('IN_TEST', None)
    log = tmp / 'log.txt'
    with open(log, 'w') as out:
        process = subprocess.Popen(
            [sys.executable, '-m', *(c.replace('PORT', port) for c in command)],
            cwd=ROOT,
            env=env,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    address = f'http://127.0.0.1:{port}'
    try:
        wait_until_up(process, address + path, log)
        yield address
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()


def app(tmp):
    "The app of `make app`."
    command = f'larp_edu.cli app --no-browser --port PORT --folder {tmp / "app"}'
    return server(tmp, '/voila/static/', *command.split())


def jupyterlab(tmp):
    command = (
        'jupyterlab --ip=127.0.0.1 --port=PORT --no-browser --allow-root '
        '--ServerApp.port_retries=0 --IdentityProvider.token= --expose-app-in-browser'
    )
    return server(tmp, '/api/status', *command.split(), f'--ServerApp.root_dir={tmp}')


# ---- pictures


def pixels(sources):
    "The pictures in some HTML, or in a list of sources of pictures: arrays (H, W, 3)."
    if isinstance(sources, str):
        sources = re.findall('<img[^>]*src="([^"]*)"', sources)
    pngs = [base64.b64decode(source.split('base64,')[1]) for source in sources]
    return [iio.imread(png, extension='.png', plugin='pillow').astype(int) for png in pngs]


def same(these, those):
    # another number of threads may round differently
    return len(these) == len(those) and all(
        a.shape == b.shape and abs(a - b).max() <= 2 for a, b in zip(these, those)
    )


def shot(name):
    SHOTS.mkdir(parents=True, exist_ok=True)
    return SHOTS / f'{name}.png'


# ---- panels


WATCH = """box => {
    const sources = () => [...box.querySelectorAll('figure img')].map(img => img.src).join();
    let began, last = sources();
    box.times = [];
    box.addEventListener('input', () => { began = performance.now(); }, true);
    new MutationObserver(async () => {
        const now = sources();
        if (!now || now === last) return;
        last = now;
        const start = began;
        await Promise.all([...box.querySelectorAll('figure img')].map(img => img.decode()));
        box.times.push(performance.now() - start);
    }).observe(box, {subtree: true, childList: true, attributes: true});
}"""
CONTRAST = """box => {  // of each piece of text, with what is behind it (WCAG 2.2, 1.4.3)
    const parse = color => {
        const [r, g, b, alpha] = color.match(/[\\d.]+/g).map(Number);
        return {rgb: [r, g, b], alpha: alpha ?? 1};
    };
    const mix = (top, below) => top.rgb.map((c, i) => c * top.alpha + below[i] * (1 - top.alpha));
    const behind = node => {
        if (!node) return [255, 255, 255];
        const color = parse(getComputedStyle(node).backgroundColor);
        return mix(color, color.alpha == 1 ? color.rgb : behind(node.parentElement));
    };
    const luminance = rgb => {
        const linear = c => c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4;
        const [r, g, b] = rgb.map(c => linear(c / 255));
        return .2126 * r + .7152 * g + .0722 * b;
    };
    const found = {};
    for (const node of box.querySelectorAll('*')) {
        const texts = [...node.childNodes].filter(child => child.nodeType == Node.TEXT_NODE);
        const text = texts.map(child => child.textContent.trim()).join('');
        if (!text || !node.getClientRects().length) continue;
        const back = behind(node);
        const both = [mix(parse(getComputedStyle(node).color), back), back].map(luminance);
        found[text] = (Math.max(...both) + .05) / (Math.min(...both) + .05);
    }
    return found;
}"""
SOURCES = 'images => images.map(image => image.src)'
FRAME = "box => Number(box.querySelector('[data-frames]').style.getPropertyValue('--frame'))"
PAUSE_AT = """(box, frame) => new Promise(done => {  // counted from 1
    const button = [...box.querySelectorAll('button')].find(b => b.textContent == 'pause films');
    const look = () => {
        if (!button.parentElement.textContent.includes(`frame ${frame} of`))
            return setTimeout(look, 10);
        button.click();
        done();
    };
    look();
})"""
LINE = '.widget-html [role=status], .widget-html [role=alert]'


class Panel:
    "The panel headed `title` on a page."

    def __init__(self, page, title):
        self.page, self.title = page, re.sub('[^a-z]+', '-', title.lower()).strip('-')
        heading = page.get_by_role('heading', name=title, exact=True)
        self.box = page.locator('.widget-vbox', has=heading).last
        self.images = self.box.locator('figure img')
        self.images.first.wait_for()
        self.images.first.scroll_into_view_if_needed()
        self.box.evaluate(WATCH)
        self.node = self.box.element_handle()

    def slider(self, name):
        return self.box.get_by_role('slider', name=name, exact=True)

    def move(self, name, *keys):
        """Press `keys` on the slider `name`, waiting for a new picture after each.

        Returns the milliseconds from the slider's event to the decoded picture."""
        self.slider(name).focus()
        before = self.node.evaluate('box => box.times.length')
        for i, key in enumerate(keys, 1):
            self.page.keyboard.press(key)
            arrived = '([box, n]) => box.times.length >= n'
            self.page.wait_for_function(arrived, arg=[self.node, before + i])
        return self.node.evaluate('(box, n) => box.times.slice(n)', before)

    def press(self, name, *keys):
        "Press keys on the slider `name` without waiting: the picture may stay the same."
        self.slider(name).focus()
        for key in keys:
            self.page.keyboard.press(key)

    def expect(self, html):
        "Wait until the panel shows the picture in `html` and its line is empty."
        want, end = pixels(html), time.time() + 90
        while not same(pixels(self.images.evaluate_all(SOURCES)), want) or self.line():
            assert time.time() < end, (
                f'not the picture that the function gives; the line says {self.line()!r}'
            )
            time.sleep(0.05)

    def frame(self):
        "The frame that is shown, from 0."
        return self.box.evaluate(FRAME)

    def pause_at(self, frame):
        "Stop the films when a frame is shown, counted from 1."
        self.box.evaluate(PAUSE_AT, frame)

    def line(self):
        return self.box.locator(LINE).first.inner_text()

    def wait_line(self, text):
        self.box.locator(LINE, has_text=text).wait_for()

    def choose(self, name, option):
        self.box.get_by_role('combobox', name=name, exact=True).select_option(label=option)

    def upload(self, path):
        with self.page.expect_file_chooser() as chooser:
            self.box.get_by_role('button', name='your own').first.click()
        chooser.value.set_files(path)


def own_clip(folder, tok):
    path = folder / 'mine.gif'
    write_video(path, example_clips(tok.config)[7].video[0].flip(3))
    return path


# Each plays with one panel: every slider by keyboard, every picture compared with the function's.


def play_count(page, models, own):
    "Returns the panel and the times of its moves."
    tok = models[0]
    clips, n = example_clips(tok.config), tok.config.n_tokens
    p = Panel(page, 'How many tokens?')
    p.expect(render_count(tok, clips[0], n))
    times = p.move('tokens', *['ArrowLeft'] * 12)
    p.expect(render_count(tok, clips[0], n - 12))
    p.move('tokens', 'Home')
    p.expect(render_count(tok, clips[0], 1))
    p.choose('clip', clips[4].name)
    p.expect(render_count(tok, clips[4], 1))
    p.upload(own)
    mine = read_clip(own.name, own.read_bytes(), tok.config)
    p.expect(render_count(tok, mine, 1))
    broken = own.with_name('broken.mp4')
    broken.write_bytes(b'no video')
    p.upload(broken)
    p.wait_line('broken.mp4: not a video that can be read')
    p.move('tokens', 'End')
    p.expect(render_count(tok, mine, n))
    return p, times


def play_token(page, models):
    tok, patchwise, _ = models
    clip = example_clips(tok.config)[0]
    both = dict(holistic=tok, patchwise=patchwise)
    p = Panel(page, 'What does this token hold?')
    p.move('token', 'ArrowRight', 'ArrowRight')
    p.expect(render_token(both, clip, 2, 7))
    p.move('new code', 'End')
    last = min(tok.config.codes, patchwise.config.codes) - 1
    p.expect(render_token(both, clip, 2, last))
    return p


def play_temperature(page, models):
    tok = models[0]
    clip = example_clips(tok.config)[0]
    p = Panel(page, "The quantiser's temperature")
    p.move('temperature', 'End')
    top = tok.config.temperature * 10**1.5
    p.expect(render_temperature(tok, clip, top, 0))
    p.move('seed', 'ArrowRight')
    p.expect(render_temperature(tok, clip, top, 1))
    return p


def play_surprise(page, models):
    p = Panel(page, 'What surprises the generator?')
    p.move('shuffle', 'ArrowRight')
    assert 'bits in order' in p.box.inner_text()
    assert 'mine.gif' in p.box.get_by_role('combobox', name='clip', exact=True).inner_text()
    return p


def play_generation(page, models):
    tok, _, gen = models
    clips, n = example_clips(tok.config), tok.config.n_tokens
    name = f'{clips[4].name.replace(" ", "-")}-seed0'

    def view(k, *knobs):
        tokens = generate(gen, torch.tensor([4]), *knobs, seed=0)
        return render_generation(tok, tokens, k, name)

    p = Panel(page, 'Generate')
    p.choose('class', clips[4].name)
    p.expect(view(n, 1.5))
    p.press('guidance', 'End')
    p.press('temperature', 'End')
    p.press('top-k (0: off)', 'ArrowRight', 'ArrowRight')
    p.expect(view(n, 4, 2, 2))
    # each of the three has arrived, since without any one the picture is another
    for knobs in ((1.5, 2, 2), (4, 1, 2), (4, 2, 0)):
        assert not same(pixels(view(n, *knobs)), pixels(view(n, 4, 2, 2)))
    p.press('tokens so far', 'ArrowLeft', 'ArrowLeft')
    p.expect(view(n - 2, 4, 2, 2))
    p.press('tokens so far', 'Home')
    p.expect(view(1, 4, 2, 2))
    p.box.get_by_role('button', name='play', exact=True).click()
    p.expect(view(n, 4, 2, 2))
    with page.expect_download() as saved:
        p.box.get_by_text(f'save {name}-{n}.gif').click()
    film = iio.imread(saved.value.path(), extension='.gif', index=None)
    assert len(film) == tok.config.frames
    return p


def play_mix(page, models):
    tok = models[0]
    clips = example_clips(tok.config)
    p = Panel(page, 'Mix two clips')
    p.move('tokens of the first', 'ArrowRight')
    p.expect(render_mix(tok, clips[0], clips[8], 17))
    p.choose('second', clips[2].name)
    p.expect(render_mix(tok, clips[0], clips[2], 17))
    return p


PLAYS = (play_token, play_temperature, play_surprise, play_generation, play_mix)


def play_all(page, models, own):
    "Yields each panel after it was played with, and the times of the first one's moves."
    p, times = play_count(page, models, own)
    yield p, times
    for play in PLAYS:
        yield play(page, models), times


# ---- JupyterLab


SLOW = """
import time
from larp_edu.widgets import Panel, Slider, example_clips, films_html

def slow(seconds):
    if seconds == 2:
        raise ValueError('two is too many')
    time.sleep(seconds)
    video = example_clips(tok.config)[seconds].video[0]
    return films_html([[video]], ('slow',), 'a clip', '')

Panel('Slow', slow, seconds=Slider('seconds', 0, 9, 0))
"""
TICKING = """
ticking = Slider('ticking', 0, 100_000, 0, play=20)
ticking
"""
ENDLESS = """
import os
if os.path.exists('again'):
    while True:
        time.sleep(.1)
"""


def slow(seconds):
    video = example_clips(tokenizer_presets['toy'])[seconds].video[0]
    return films_html([[video]], ('slow',), 'a clip', '')


def write_notebook(tmp):
    "A copy of the page, since JupyterLab saves by itself, with some more cells."
    notebook = json.loads((ROOT / PAGE).read_text())
    for i, source in enumerate((SLOW, TICKING, 'ticking', ENDLESS)):
        cell = dict(cell_type='code', id=f'extra{i}', metadata={}, execution_count=None)
        notebook['cells'].append(dict(cell, outputs=[], source=source.strip()))
    (tmp / 'results').symlink_to(ROOT / 'results')
    (tmp / 'nbs').mkdir()
    (tmp / PAGE).write_text(json.dumps(notebook))


def keep_cells_on_page(tmp):
    "Else JupyterLab takes cells out of the page when they are out of sight."
    settings = tmp / 'settings/@jupyterlab/notebook-extension'
    settings.mkdir(parents=True)
    (settings / 'tracker.jupyterlab-settings').write_text('{"windowingMode": "none"}')


def click_menu(page, name, command):
    page.click(f'.lm-MenuBar-item:has-text("{name}")')
    page.click(f'.lm-Menu-item[data-command="{command}"]')


def run_all_cells(page, address):
    "Open the notebook, run it, and wait for the panel of the added cell."
    page.goto(f'{address}/doc/tree/{PAGE}')
    page.locator('.jp-Notebook-ExecutionIndicator[data-status=idle]').wait_for()
    page.locator('.jp-Notebook .jp-CodeCell').first.click()
    begun = page.locator('.jp-InputPrompt', has_text=re.compile(r'\[[*\d]+\]')).first
    for tries in range(3):  # a click may come before JupyterLab listens
        click_menu(page, 'Run', 'runmenu:run-all')
        page.wait_for_timeout(5000)
        if begun.count():
            break
    failed = page.locator(
        '[data-mime-type="application/vnd.jupyter.error"], '
        '[data-mime-type="application/vnd.jupyter.stderr"]'
    )
    page.get_by_role('heading', name='Slow', exact=True).or_(failed).first.wait_for()
    assert not failed.count(), failed.first.inner_text()


def play_slow(page):
    "A panel that works for a second, and one that fails."
    p = Panel(page, 'Slow')
    p.slider('seconds').focus()
    page.keyboard.press('ArrowRight')
    p.wait_line('working ...')
    p.expect(slow(1))
    p.slider('seconds').focus()
    page.keyboard.press('ArrowRight')
    p.wait_line('ValueError: two is too many')
    page.keyboard.press('ArrowLeft')
    p.expect(slow(1))
    return p


def change_theme(page, name):
    "Choose a theme of JupyterLab; its colours come with a style sheet."
    page.evaluate("theme => jupyterapp.commands.execute('apputils:change-theme', {theme})", name)
    page.locator(f'body[data-jp-theme-name="{name}"]').wait_for(state='attached')


def check_contrast(page, p):
    "Report 38: the text of a panel, its two lines included, stands out from what is behind it."
    seen = {}
    p.press('seconds', 'Home')
    p.expect(slow(0))  # its own line must be gone: the next one is looked at while it stands
    p.press('seconds', 'ArrowRight')
    p.wait_line('working ...')
    seen |= p.box.evaluate(CONTRAST)
    p.expect(slow(1))
    p.press('seconds', 'ArrowRight')
    p.wait_line('ValueError: two is too many')
    seen |= p.box.evaluate(CONTRAST)
    p.press('seconds', 'Home')
    p.expect(slow(0))
    assert {'working ...', 'ValueError: two is too many', 'seconds', 'slow'} <= seen.keys()
    assert min(seen.values()) >= 4.5, seen


def close_playing_view(page):
    "Report 37: of two views of a slider one plays; when it is gone, the slider stands still."
    cells = page.locator('.jp-CodeCell')
    first, second = (cells.filter(has_text=text).last for text in ('ticking = ', 'ticking'))
    value = second.locator('output')
    first.get_by_role('button', name='play', exact=True).click()
    page.wait_for_function('x => Number(x.textContent) > 3', arg=value.element_handle())
    first.locator('.jp-InputArea').click()
    page.evaluate("jupyterapp.commands.execute('notebook:clear-cell-output')")
    first.get_by_role('button', name='play').or_(first.locator('output')).wait_for(state='hidden')
    page.wait_for_timeout(200)  # what was on its way
    stopped = value.inner_text()
    page.wait_for_timeout(300)
    assert value.inner_text() == stopped


def interrupt_cell(page, tmp):
    "Run the cell that never ends, and interrupt it."
    (tmp / 'nbs/again').touch()
    page.get_by_text('while True').last.click()
    page.keyboard.press('Shift+Enter')
    page.locator('.jp-InputPrompt:has-text("[*]")').wait_for()
    click_menu(page, 'Kernel', 'kernelmenu:interrupt')
    page.get_by_text('KeyboardInterrupt').first.wait_for()


def test_lab(browser, models, tmp_path):
    """The page in JupyterLab: run all, play with every panel.

    Then a slow panel that also fails, in two themes, a view that is closed while it plays, and a
    cell that is interrupted."""
    write_notebook(tmp_path)
    keep_cells_on_page(tmp_path)
    with jupyterlab(tmp_path) as address:
        page = browser.new_page(viewport=dict(width=1100, height=1000))
        page.set_default_timeout(120_000)
        run_all_cells(page, address)
        for p, times in play_all(page, models, own_clip(tmp_path, models[0])):
            p.box.screenshot(path=shot(f'lab-{p.title}'))
        median, slowest = np.median(times), max(times)
        print(f'slider event to picture: median {median:.0f} ms, slowest {slowest:.0f} ms')
        assert median < 1000
        p = play_slow(page)
        for theme in ('JupyterLab Dark', 'JupyterLab Light'):
            change_theme(page, theme)
            check_contrast(page, p)
            p.box.screenshot(path=shot(theme.replace(' ', '-').lower()))
        close_playing_view(page)
        p.press('seconds', 'ArrowRight')
        p.expect(slow(1))
        interrupt_cell(page, tmp_path)
        p.move('seconds', 'ArrowLeft')
        p.expect(slow(0))
        page.close()


# ---- a slider alone


RENDER = """async source => {  // with a stand-in for the model
    const address = URL.createObjectURL(new Blob([source], {type: 'text/javascript'}));
    const slider = (await import(address)).default;
    const values = {name: 'k', low: 0, high: 1000, step: 1, value: 0, log: false, play: 1};
    const callbacks = [];
    const model = {
        get: key => values[key],
        set: (key, value) => { values[key] = value; },
        save_changes: () => callbacks.forEach(callback => callback()),
        on: (name, callback) => callbacks.push(callback),
        off: (name, callback) => callbacks.splice(callbacks.indexOf(callback), 1),
    };
    const el = document.createElement('div');
    const pause = ms => new Promise(done => setTimeout(done, ms));
    const stop = await slider.render({model, el});
    el.querySelector('button').click();
    while (values.value < 3) await pause(1);
    const shown = Number(el.querySelector('output').textContent);
    await stop();
    const before = values.value;
    await pause(50);
    return {shown, moved: values.value - before, listeners: callbacks.length};
}"""


def test_a_slider_that_is_gone_leaves_no_timer_and_no_listener(browser):
    "Report 37, without a kernel: `render` returns what to do at the end."
    page = browser.new_page()
    found = page.evaluate(RENDER, str(Slider('k', 0, 5, 0)._esm))
    assert found['shown'] >= 3
    assert (found['moved'], found['listeners']) == (0, 0)
    page.close()


# ---- the app


def test_app(browser, models, tmp_path):
    """The same panels in voila: one tab each, no code; what is uploaded in one is in all.

    An upload of more than 10 MB, which Jupyter would drop, a rude name, and a file twice."""
    with app(tmp_path) as address:
        page = browser.new_page(viewport=dict(width=1100, height=900))
        page.set_default_timeout(120_000)
        page.goto(address)
        tabs = page.get_by_role('tab')
        tabs.first.wait_for()
        page.locator('figure img').first.wait_for()
        # only what is shown has been made
        assert page.locator('[data-frames]').count() == 1
        steps = play_all(page, models, own_clip(tmp_path, models[0]))
        assert tabs.all_inner_texts() == list(TITLES)
        assert not page.locator('.jp-InputArea, .CodeMirror').count()
        for tab in tabs.all():
            tab.click()
            p, _ = next(steps)
            p.box.screenshot(path=shot(f'app-{p.title}'))
        tabs.nth(5).click()
        p = Panel(page, 'Mix two clips')
        big = tmp_path / '<img src=x onerror=window.bad=1>$x^$.gif'
        big.write_bytes(own_clip(tmp_path, models[0]).read_bytes() + b';' * 12_000_000)
        p.upload(big)
        page.locator('figcaption', has_text='<img src=x').first.wait_for()
        assert not page.evaluate('window.bad')
        for _ in range(2):
            p.upload(tmp_path / 'broken.mp4')
            p.wait_line('broken.mp4: not a video')
            p.move('tokens of the first', 'ArrowRight')
        page.close()


LABELS = """tabs => tabs.map(tab => {
    const label = tab.querySelector('.lm-TabBar-tabLabel');
    return label.scrollWidth <= label.clientWidth
        && label.getBoundingClientRect().right <= tab.getBoundingClientRect().right
        && tab.getBoundingClientRect().right <= innerWidth;
})"""
WIDTHS = (
    """windows => windows.map(film => film.getBoundingClientRect()).map(r => [r.width, r.right])"""
)
FILMS = 'figure [style*="overflow:hidden"]'  # windows on the sheets


def check_widths(page, wide):
    "Every film and the name of every tab is whole; returns the widths of the films of a tab."
    tabs, found = page.get_by_role('tab'), []
    for tab, title in zip(tabs.all(), TITLES):
        tab.click()
        p = Panel(page, title)
        films = p.box.locator(FILMS).evaluate_all(WIDTHS)
        inside = p.box.bounding_box()
        assert all(right <= inside['x'] + inside['width'] <= wide for _, right in films), title
        for image in p.images.all() if not films else ():  # the bars
            assert image.bounding_box()['width'] <= inside['width']
        assert p.box.evaluate('box => box.scrollWidth <= box.clientWidth'), title
        assert tabs.evaluate_all(LABELS) == [True] * len(TITLES)
        page.screenshot(path=shot(f'app-{wide}-{p.title}'))
        found.append([width for width, _ in films])
    return found


def test_the_app_on_a_desk_and_on_a_telephone(browser, tmp_path):
    """Films are 320 pixels wide on a desk, and whole on a telephone, as are the names of the tabs.

    A title and a sentence say what it is. A button stops the films, which then show the same frame
    of whatever is asked for, and go on from there. Those who asked for less motion have it."""
    with app(tmp_path) as address:
        page = browser.new_page(viewport=dict(width=1400, height=900))
        page.set_default_timeout(120_000)
        page.goto(address)
        heading = page.get_by_role('heading', name='LARP: a video as a row of tokens', exact=True)
        heading.wait_for()
        assert heading.locator('xpath=following-sibling::p').inner_text().count('.') == 1
        films = check_widths(page, 1400)
        assert [len(row) for row in films] == [3, 8, 4, 0, 2, 3]
        assert all(width >= 320 for row in films for width in row), films
        page.set_viewport_size(dict(width=420, height=900))
        films = check_widths(page, 420)
        assert all(width >= 160 for row in films for width in row), films
        page.get_by_role('tab').first.click()
        p = Panel(page, TITLES[0])
        p.pause_at(4)
        p.move('tokens', 'ArrowLeft', 'ArrowLeft')
        page.wait_for_timeout(700)
        assert p.frame() == 3
        p.box.get_by_role('button', name='play films').click()
        page.wait_for_function(f'box => ({FRAME})(box) > 3', arg=p.node)
        page.emulate_media(reduced_motion='reduce')
        page.goto(address)
        page.get_by_role('button', name='play films').wait_for()
        assert Panel(page, TITLES[0]).frame() == 0
        page.close()


# ---- the page of the demo


def demo_page(folder):
    "The page of a run that has begun, with a film of real clips for a narrow screen."
    recipe = asdict(PairRecipe(tokenizer_steps=100, generator_steps=100, clips=64))
    report = dict(recipe=recipe, data='ShapeWorld', seed=0, hardware={}, notes=[], tiers={})
    live = LivePage(folder, report | dict(baselines={}), 0)
    clips = example_clips(tokenizer_presets['toy'])
    real = torch.cat([clip.video for clip in clips])
    live.choose(real, torch.arange(len(clips)), [clip.name for clip in clips])
    live.preview('scratch', 'Real clips.')
    live.rows = [dict(step=k, seconds=k, l2=1 / k, psnr=15 + k / 9) for k in (10, 20, 30)], []
    live.write(0)
    return live


def test_the_page_of_the_demo_follows_a_run(browser, tmp_path):
    """On a telephone nothing is cut off, in light and dark; the page loads itself again.

    The reader stays where he is on it. When the run is over, the page stays as it is."""
    live = demo_page(tmp_path)
    for scheme in ('light', 'dark'):
        page = browser.new_page(viewport=dict(width=420, height=800), color_scheme=scheme)
        page.set_default_timeout(120_000)
        page.goto((tmp_path / 'index.html').as_uri())
        assert page.evaluate('document.documentElement.scrollWidth') <= 420
        assert page.locator('figure img').evaluate('image => image.naturalWidth') == 96
        contrast = page.locator('body').evaluate(CONTRAST)
        assert min(contrast.values()) >= 4.5, contrast
        page.screenshot(path=shot(f'demo-{scheme}'), full_page=True)
        if scheme == 'light':
            page.close()
    page.evaluate('scrollTo(0, 700)')
    before = page.locator('figure img').bounding_box()['y']
    live.write(1, step=30, steps=100, seconds=70.0)
    page.get_by_text('Step 30 of 100').wait_for()
    # a new line above the film may move it by its own height
    assert abs(page.locator('figure img').bounding_box()['y'] - before) < 120
    assert page.evaluate('scrollY') >= 700
    live.stop()
    page.get_by_text('The run was stopped').wait_for()
    assert not page.locator('script').count()
    assert page.evaluate('scrollY') > 0
    page.close()


# ---- the site


SET_SLIDER = """(slider, n) => {
    slider.value = n;
    slider.dispatchEvent(new Event('input', {bubbles: true}));
}"""
READ_CANVAS = """() => {
    const canvas = document.getElementById('recon').getContext('2d');
    return [...canvas.getImageData(0, 0, 32, 32).data];
}"""


@pytest.fixture(scope='module')
def site(browser, tmp_path_factory):
    "The folder of the built site."
    folder = tmp_path_factory.mktemp('built') / 'site'
    env = dict(os.environ, PYTHONPATH=str(ROOT))
    subprocess.run([sys.executable, 'tools/site/build.py', folder], cwd=ROOT, env=env, check=True)
    return folder


def check_slider_page(page, tok):
    "The slider works by keyboard; the text and the picture are those of the tokenizer."
    clip = example_clips(tok.config)[4]
    slider = page.get_by_role('slider', name='tokens')
    page.get_by_role('combobox', name='clip').select_option(label=clip.name)
    page.get_by_role('button', name='pause').click()
    slider.focus()
    codes, counts = tok.encode(clip.video), (1, 3, 8, tok.config.n_tokens)
    recons = {n: tok.decode(codes[:, :n]) for n in counts}
    for n in counts:
        slider.evaluate(SET_SLIDER, n)
        said, db = page.locator('#text').inner_text(), psnr(recons[n], clip.video).item()
        assert said.startswith(f'{clip.name}: {n} token'), said
        assert abs(float(re.search(r'PSNR ([\d.]+) dB', said)[1]) - db) < 0.06, said
        seen = np.array(page.evaluate(READ_CANVAS)).reshape(32, 32, 4)[..., :3]
        error = {}
        for m, recon in recons.items():
            frames = to_uint8(recon[0]).numpy().astype(int)
            error[m] = abs(frames - seen).mean((1, 2, 3)).min()
        # the right row, but for the compression of the picture
        assert min(error, key=error.get) == n and error[n] < 4, (n, error)
    page.keyboard.press('Home')
    page.keyboard.press('ArrowRight')
    assert f'{clip.name}: 2 tokens' in page.locator('#text').inner_text()
    page.screenshot(path=shot('site-slider'))


def test_site(browser, models, site, tmp_path):
    """The static site: the slider works without a kernel, pages and search are there.

    Only mathematics is fetched from elsewhere."""
    foreign, broken = [], []

    def note_request(request):
        if not request.url.startswith((address, 'data:')):
            foreign.append(request.url)

    command = 'http.server', 'PORT', '--bind=127.0.0.1', f'--directory={site}'
    with server(tmp_path, '/', *command) as address:
        page = browser.new_page(viewport=dict(width=1200, height=900))
        page.on('pageerror', lambda error: broken.append(error))
        page.on('request', note_request)
        page.goto(f'{address}/slider.html')
        check_slider_page(page, models[0])
        page.goto(f'{address}/search.html?q=quantiser')
        page.locator('#search-results li').first.wait_for(timeout=20_000)
        page.goto(f'{address}/api/quantize.html')
        assert 'Stochastic vector quantiser on the unit sphere' in page.locator('main').inner_text()
        page.goto(f'{address}/api/story.html')
        assert page.locator('[id="larp_edu.story.GUIDANCE"]').count() == 1  # constants, too
        page.goto(f'{address}/names.html')
        page.get_by_role('link', name='encode_video').first.click()
        page.wait_for_url(re.compile(r'/api/tokenizer\.html'))
        page.goto(address)
        page.get_by_role('link', name=EXPLORE).first.click()
        page.get_by_role('heading', name=EXPLORE).first.wait_for()
        page.screenshot(path=shot('site-notebook'))
        stills = page.locator('img[src*="_images/"]').and_(page.locator('[alt^="A token slider"]'))
        assert stills.evaluate('image => image.naturalWidth') > 600
        page.get_by_role('link', name='Here is how to run a page').first.click()
        page.get_by_role('heading', name='Two commands').wait_for()
        assert all('mathjax' in url.lower() for url in foreign), foreign
        assert not broken, broken
        page.close()
