"""The panels of page 32_explore in a real browser: in JupyterLab, and as an app in voila.

They need Chromium (or Chrome) and `playwright`; without them the tests are skipped, or fail if LARP_REQUIRE_BROWSER is set, as in CI."""

import base64, json, os, re, shutil, signal, socket, subprocess, sys, time, urllib.error, urllib.request
from contextlib import contextmanager
from pathlib import Path
import imageio.v3 as iio, numpy as np, pytest, torch
from larp_edu.generator import ARTransformer
from larp_edu.metrics import psnr
from larp_edu.explore import (
    render_count,
    render_generation,
    render_mix,
    render_temperature,
    render_token,
)
from larp_edu.nested import NestedTokenizer
from larp_edu.widgets import example_clips, films_html, read_clip
from larp_edu.sampling import generate
from larp_edu.files import asset
from larp_edu.tokenizer import LARPTokenizer, tokenizer_presets
from larp_edu.clips import to_uint8
from larp_edu.video import write_video

ROOT = Path(__file__).resolve().parents[1]
SHOTS = ROOT / 'runs/browser'  # screenshots of the last run
CHROME = next(
    filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))), None
)
FLAGS = '--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync'.split()


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


@contextmanager
def server(tmp, path, *command):
    "A server on a free port, with a home of its own; yields its address and its log file."
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        port = s.getsockname()[1]
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
            [sys.executable, '-m', *(c.replace('PORT', str(port)) for c in command)],
            cwd=ROOT,
            env=env,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        for _ in range(300):
            assert process.poll() is None, log.read_text()
            try:
                urllib.request.urlopen(f'http://127.0.0.1:{port}{path}', timeout=2)
            except urllib.error.HTTPError:
                break
            except OSError:
                time.sleep(0.2)
                continue
            break
        else:
            raise AssertionError(log.read_text())
        yield f'http://127.0.0.1:{port}', log
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()


def pixels(html_or_src):
    "All frames of the (first) PNG in some HTML, or of the source of a picture: (frames, H, W, 3) int."
    return iio.imread(
        base64.b64decode(html_or_src.split('<img')[-1].split('base64,')[1].split('"')[0]),
        extension='.png',
        plugin='pillow',
        index=None,
    ).astype(int)


def shot(name):
    SHOTS.mkdir(parents=True, exist_ok=True)
    return SHOTS / f'{name}.png'


def same(a, b):
    return (
        a.shape == b.shape and abs(a - b).max() <= 2
    )  # another number of threads may round differently


WATCH = """box => {
    let began, last = box.querySelector('figure img').src; box.times = [];
    box.addEventListener('input', () => { began = performance.now(); }, true);
    new MutationObserver(async () => {
        const img = box.querySelector('figure img'); if (!img || img.src === last) return;
        last = img.src; const start = began; await img.decode(); box.times.push(performance.now() - start);
    }).observe(box, {subtree: true, childList: true, attributes: true});
}"""


class Panel:
    "The panel headed `title` on a page."

    def __init__(self, page, title):
        self.page, self.title = page, re.sub('[^a-z]+', '-', title.lower()).strip('-')
        self.box = page.locator(
            '.widget-vbox', has=page.get_by_role('heading', name=title, exact=True)
        ).last
        self.image = self.box.locator('figure img')
        self.image.wait_for()
        self.image.scroll_into_view_if_needed()
        self.box.evaluate(WATCH)
        self.node = self.box.element_handle()

    def move(self, name, *keys):
        "Press `keys` on the slider `name`, waiting for a new picture after each: the milliseconds from the slider's event to the decoded picture."
        self.box.get_by_role('slider', name=name, exact=True).focus()
        before = self.node.evaluate('box => box.times.length')
        for i, key in enumerate(keys, 1):
            self.page.keyboard.press(key)
            self.page.wait_for_function(
                '([box, n]) => box.times.length >= n', arg=[self.node, before + i]
            )
        return self.node.evaluate('(box, n) => box.times.slice(n)', before)

    def press(self, name, *keys):
        "Press keys on the slider `name` without waiting: the picture may stay the same."
        self.box.get_by_role('slider', name=name, exact=True).focus()
        for key in keys:
            self.page.keyboard.press(key)

    def expect(self, html):
        "Wait until the panel shows the picture in `html` and its line is empty."
        want, end = pixels(html), time.time() + 90
        while not same(pixels(self.image.get_attribute('src')), want) or self.line():
            assert time.time() < end, (
                f'not the picture that the function gives; the line says {self.line()!r}'
            )
            time.sleep(0.05)

    def line(self):
        return self.box.locator(
            '.widget-html [role=status], .widget-html [role=alert]'
        ).first.inner_text()

    def wait_line(self, text):
        self.box.locator(
            '.widget-html [role=status], .widget-html [role=alert]', has_text=text
        ).wait_for()

    def choose(self, name, option):
        self.box.get_by_role('combobox', name=name, exact=True).select_option(label=option)

    def upload(self, path):
        with self.page.expect_file_chooser() as chooser:
            self.box.get_by_role('button', name='your own').first.click()
        chooser.value.set_files(path)


@pytest.fixture(scope='module')
def models():
    torch.set_num_threads(1)
    return (
        NestedTokenizer.load(asset('any_count.safetensors')),
        LARPTokenizer.load(asset('patch_tokenizer.safetensors')),
        ARTransformer.load(asset('any_count_generator.safetensors')),
    )


SLOW = """import time
from larp_edu.panel import *
def slow(seconds):
    if seconds == 2: raise ValueError('two is too many')
    time.sleep(seconds); return films([[examples(config)[seconds].video[0]]], ('slow',), 'a clip', '')
Panel('Slow', slow, seconds=Slider('seconds', 0, 9, 0))"""


def play_all(page, models, own):
    "Every slider of every panel by keyboard, every picture compared with the function's; returns the times of the first panel."
    tok, patchwise, gen = models
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
    yield p, times
    p = Panel(page, 'What does this token hold?')
    both = dict(holistic=tok, patchwise=patchwise)
    p.move('token', 'ArrowRight', 'ArrowRight')
    p.expect(render_token(both, clips[0], 2, 7))
    p.move('new code', 'End')
    p.expect(render_token(both, clips[0], 2, tok.config.codes - 1))
    yield p, times
    p = Panel(page, "The quantiser's temperature")
    p.move('temperature', 'End')
    top = tok.config.temperature * 10**1.5
    p.expect(render_temperature(tok, clips[0], top, 0))
    p.move('seed', 'ArrowRight')
    p.expect(render_temperature(tok, clips[0], top, 1))
    yield p, times
    p = Panel(page, 'What surprises the generator?')
    p.move('shuffle', 'ArrowRight')
    assert 'bits in order' in p.box.inner_text()
    yield p, times
    p = Panel(page, 'Generate')
    p.choose('class', clips[4].name)
    name = f'{clips[4].name.replace(" ", "-")}-seed0'
    view = lambda k, *knobs: render_generation(
        tok, generate(gen, torch.tensor([4]), *knobs, seed=0), k, name
    )
    p.expect(view(n, 1.5))
    p.press('guidance', 'End')
    p.press('temperature', 'End')
    p.press('top-k (0: off)', 'ArrowRight', 'ArrowRight')
    p.expect(view(n, 4, 2, 2))
    assert not any(
        same(pixels(view(n, *knobs)), pixels(view(n, 4, 2, 2)))
        for knobs in ((1.5, 2, 2), (4, 1, 2), (4, 2, 0))
    )  # so each of the three has arrived
    p.press('tokens so far', 'ArrowLeft', 'ArrowLeft')
    p.expect(view(n - 2, 4, 2, 2))
    p.press('tokens so far', 'Home')
    p.expect(view(1, 4, 2, 2))
    p.box.get_by_role('button', name='play', exact=True).click()
    p.expect(view(n, 4, 2, 2))
    with page.expect_download() as saved:
        p.box.get_by_text(f'save {name}-{n}.gif').click()
    assert len(iio.imread(saved.value.path(), extension='.gif', index=None)) == tok.config.frames
    yield p, times
    p = Panel(page, 'Mix two clips')
    p.move('tokens of the first', 'ArrowRight')
    p.expect(render_mix(tok, clips[0], clips[8], 17))
    p.choose('second', clips[2].name)
    p.expect(render_mix(tok, clips[0], clips[2], 17))
    yield p, times


def slow(seconds):
    return films_html(
        [[example_clips(tokenizer_presets['toy'])[seconds].video[0]]], ('slow',), 'a clip', ''
    )


def own_clip(folder, tok):
    path = folder / 'mine.gif'
    write_video(path, example_clips(tok.config)[7].video[0].flip(3))
    return path


def test_lab(browser, models, tmp_path):
    "page 32_explore in JupyterLab: run all, play with every panel, then a slow one and one that fails, and a cell that is interrupted."
    notebook = json.loads((ROOT / 'nbs/32_explore.ipynb').read_text())

    for i, text in enumerate(
        (
            SLOW.replace('config', 'tok.config'),
            "import os\nif os.path.exists('again'):\n    while True: time.sleep(.1)",
        )
    ):
        notebook['cells'].append(
            dict(
                cell_type='code',
                id=f'extra{i}',
                metadata={},
                execution_count=None,
                outputs=[],
                source=text,
            )
        )
    (tmp_path / 'results').symlink_to(ROOT / 'results')
    (tmp_path / 'nbs').mkdir()
    (tmp_path / 'nbs/32_explore.ipynb').write_text(
        json.dumps(notebook)
    )  # a copy: JupyterLab saves by itself
    settings = tmp_path / 'settings/@jupyterlab/notebook-extension'
    settings.mkdir(parents=True)
    (settings / 'tracker.jupyterlab-settings').write_text(
        '{"windowingMode": "none"}'
    )  # else cells out of sight leave the page
    options = '--no-browser --allow-root --ServerApp.port_retries=0 --IdentityProvider.token= --expose-app-in-browser'.split()
    with server(
        tmp_path,
        '/api/status',
        'jupyterlab',
        '--ip=127.0.0.1',
        '--port=PORT',
        *options,
        f'--ServerApp.root_dir={tmp_path}',
    ) as (address, log):
        page = browser.new_page(viewport=dict(width=1100, height=1000))
        page.set_default_timeout(120_000)
        page.goto(f'{address}/doc/tree/nbs/32_explore.ipynb')
        page.locator('.jp-Notebook-ExecutionIndicator[data-status=idle]').wait_for()
        menu = lambda name, command: (
            page.click(f'.lm-MenuBar-item:has-text("{name}")'),
            page.click(f'.lm-Menu-item[data-command="{command}"]'),
        )
        page.locator('.jp-Notebook .jp-CodeCell').first.click()
        begun = page.locator('.jp-InputPrompt', has_text=re.compile(r'\[[*\d]+\]')).first
        for tries in range(3):  # a click may come before JupyterLab listens
            menu('Run', 'runmenu:run-all')
            page.wait_for_timeout(5000)
            if begun.count():
                break
        failed = page.locator(
            '[data-mime-type="application/vnd.jupyter.error"], [data-mime-type="application/vnd.jupyter.stderr"]'
        )
        page.get_by_role('heading', name='Slow', exact=True).or_(failed).first.wait_for()
        assert not failed.count(), failed.first.inner_text()
        for p, times in play_all(page, models, own_clip(tmp_path, models[0])):
            p.box.screenshot(path=shot(f'lab-{p.title}'))
        print(
            f'from slider event to picture: median {np.median(times):.0f} ms, slowest {max(times):.0f} ms'
        )
        assert np.median(times) < 1000
        p = Panel(page, 'Slow')
        slider = p.box.get_by_role('slider', name='seconds', exact=True)
        slider.focus()
        page.keyboard.press('ArrowRight')
        p.wait_line('working ...')
        p.expect(slow(1))
        slider.focus()
        page.keyboard.press('ArrowRight')
        p.wait_line('ValueError: two is too many')
        page.keyboard.press('ArrowLeft')
        p.expect(slow(1))
        (tmp_path / 'nbs/again').touch()
        page.get_by_text('while True').last.click()
        page.keyboard.press('Shift+Enter')
        page.locator('.jp-InputPrompt:has-text("[*]")').wait_for()
        menu('Kernel', 'kernelmenu:interrupt')
        page.get_by_text('KeyboardInterrupt').first.wait_for()
        p.move('seconds', 'ArrowLeft')
        p.expect(slow(0))
        page.close()


def app(tmp):
    return server(
        tmp, '/voila/static/', 'tools.app', '--no-browser', '--port=PORT', '--Voila.ip=127.0.0.1'
    )


def test_app(browser, models, tmp_path):
    "The same panels in voila: one tab each, no code. An upload of more than 10 MB, which Jupyter would drop, a rude name, and the same file twice."
    with app(tmp_path) as (address, log):
        page = browser.new_page(viewport=dict(width=1100, height=900))
        page.set_default_timeout(120_000)
        page.goto(address)
        tabs = page.get_by_role('tab')
        tabs.first.wait_for()
        steps = play_all(page, models, own_clip(tmp_path, models[0]))
        assert tabs.count() == 6 and not page.locator('.jp-InputArea, .CodeMirror').count()
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


def test_site(browser, models, tmp_path):
    "The static site: the slider works without a kernel, pages and search are there, and only mathematics is fetched from elsewhere."
    subprocess.run(
        [sys.executable, 'tools/site/build.py', tmp_path / 'site'],
        cwd=ROOT,
        env=dict(os.environ, PYTHONPATH=str(ROOT)),
        check=True,
    )
    tok = models[0]
    clip = example_clips(tok.config)[4]
    foreign, broken = [], []
    with server(
        tmp_path, '/', 'http.server', 'PORT', '--bind=127.0.0.1', f'--directory={tmp_path / "site"}'
    ) as (address, log):
        page = browser.new_page(viewport=dict(width=1200, height=900))
        page.on('pageerror', lambda e: broken.append(e))
        page.on('request', lambda r: r.url.startswith((address, 'data:')) or foreign.append(r.url))
        page.goto(f'{address}/slider.html')
        k = page.get_by_role('slider', name='tokens')
        page.get_by_role('combobox', name='clip').select_option(label=clip.name)
        page.get_by_role('button', name='pause').click()
        k.focus()
        codes, counts = tok.encode(clip.video), (1, 3, 8, tok.config.n_tokens)
        recons = {n: tok.decode(codes[:, :n]) for n in counts}
        for n in counts:
            k.evaluate(
                '(e, n) => { e.value = n; e.dispatchEvent(new Event("input", {bubbles: true})); }',
                n,
            )
            said, db = page.locator('#text').inner_text(), psnr(recons[n], clip.video).item()
            assert (
                said.startswith(f'{clip.name}: {n} token')
                and abs(float(re.search(r'PSNR ([\d.]+) dB', said)[1]) - db) < 0.06
            ), said
            seen = np.array(
                page.evaluate(
                    "() => [...document.getElementById('recon').getContext('2d').getImageData(0, 0, 32, 32).data]"
                )
            ).reshape(32, 32, 4)[..., :3]
            error = {
                m: abs(to_uint8(r[0]).numpy().astype(int) - seen).mean((1, 2, 3)).min()
                for m, r in recons.items()
            }
            assert min(error, key=error.get) == n and error[n] < 4, (
                n,
                error,
            )  # the right row, but for the compression of the picture
        page.keyboard.press('Home')
        page.keyboard.press('ArrowRight')
        assert f'{clip.name}: 2 tokens' in page.locator('#text').inner_text()
        page.screenshot(path=shot('site-slider'))
        page.goto(f'{address}/search.html?q=quantiser')
        page.locator('#search-results li').first.wait_for(timeout=20_000)
        page.goto(f'{address}/api/quantize.html')
        assert 'Stochastic vector quantiser on the unit sphere' in page.locator('main').inner_text()
        page.goto(address)
        page.get_by_role('link', name='14 explore').first.click()
        page.get_by_role('heading', name='Explore: tokens under your fingers').first.wait_for()
        page.screenshot(path=shot('site-notebook'))
        assert all('mathjax' in url.lower() for url in foreign), foreign
        assert not broken, broken
        page.close()
