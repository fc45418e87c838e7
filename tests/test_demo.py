"""The page of `make demo` at every stage of a run: at its start, in training, stopped, over."""

import json
import re
import webbrowser
from dataclasses import replace
from html.parser import HTMLParser
import pytest
import torch
from larp_edu import demo
from larp_edu.demo import LivePage, run_demo, show_page
from larp_edu.shapeworld import ShapeWorld
from larp_edu.story import PairRecipe, collect_clips, fit_pair
from larp_edu.tokenizer import tokenizer_presets
from larp_edu.video import write_video

SHAPE = dict(dim=32, heads=2, encoder_depth=1, decoder_depth=1, n_tokens=4, codes=16)
SHAPE |= dict(prior_dim=16, prior_depth=1, prior_heads=1)
TINY = PairRecipe(
    tokenizer_steps=2,
    generator_steps=2,
    clips=32,
    batch=2,
    generator_batch=2,
    warm_steps=1,
    tokenizer=replace(tokenizer_presets['toy'], **SHAPE),
)
VOID = 'img meta source input'.split()
ASIDE = 'script style'.split()


class Page(HTMLParser):
    "What a page holds: headings, pictures, and the text that a reader sees."

    def __init__(self, text):
        super().__init__()
        self.open, self.levels, self.pictures, self.text, self.ids = [], [], [], '', []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if re.fullmatch(r'h\d', tag):
            self.levels.append(int(tag[1]))
        if tag == 'img':
            assert attributes['alt'], 'a picture without alt text'
            self.pictures.append(attributes['src'])
        if tag == 'source':
            self.pictures.append(attributes['srcset'])
        self.ids += [attributes['id']] if 'id' in attributes else []
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f'</{tag}> closes nothing'

    def handle_data(self, data):
        if not set(ASIDE) & set(self.open):
            self.text += data


def check_page(text, folder):
    "A page is whole, in order, and has all its pictures; returns what it holds."
    page = Page(text)
    assert not page.open
    assert page.levels[0] == 1 and page.levels.count(1) == 1
    assert all(b <= a + 1 for a, b in zip(page.levels, page.levels[1:])), page.levels
    assert not set('{}') & set(page.text), page.text
    assert len(set(page.ids)) == len(page.ids)
    for link in re.findall(r'href="#(\w+)"', text):
        assert link in page.ids
    for picture in page.pictures:
        assert (folder / picture.partition('?')[0]).exists(), picture
    return page


def loads_again(text):
    return 'reload()' in text


@pytest.fixture
def pages(monkeypatch):
    "(stage, HTML) of each page that a run writes, checked; few clips are measured."
    found = []
    write = demo.write_page

    def keep(report, out, rows=([], [])):
        write(report, out, rows)
        text = (out / 'index.html').read_text(encoding='utf-8')
        check_page(text, out)
        found.append((report.get('progress', {}).get('stage'), text))

    monkeypatch.setattr(demo, 'write_page', keep)
    monkeypatch.setattr(demo, 'HELD_OUT', 32)
    monkeypatch.setattr(demo, 'PER_CLASS', 2)
    return found


def test_a_run_shows_its_page_from_the_start_to_the_end(pages, tmp_path, capsys):
    report = run_demo(tmp_path, recipe=TINY)
    assert [stage for stage, _ in pages] == [0, 0, 1, 1, 2, 3, None]
    assert all(loads_again(text) for stage, text in pages if stage is not None)
    texts = [text for _, text in pages]
    assert 'shipped.gif' in texts[1] and 'PSNR of reconstructions' not in texts[1]
    assert 'PSNR of reconstructions' in texts[2] and 'scratch.gif' not in texts[2]
    assert 'Step 2 of 2' in texts[3] and 'scratch.gif' in texts[3] and 'path class' in texts[3]
    assert 'left for this part, ' in texts[3] and 'for the whole run' in texts[3]
    assert 'Trained here' in texts[-1] and 'See what it passed' in texts[-1]
    last = texts[-1]
    assert not loads_again(last) and 'http-equiv' not in last and '<script' not in last
    assert json.loads((tmp_path / 'report.json').read_text()).keys() == report.keys()
    assert 'progress' not in report
    said = capsys.readouterr().out
    assert said.startswith(f'The page of this run: {(tmp_path / "index.html").as_uri()}\n')


def test_a_run_that_is_stopped_says_so_and_goes_on(pages, tmp_path, monkeypatch):
    watch = LivePage.watch

    def stop(self, tok, gen, rows):
        watch(self, tok, gen, rows)
        if gen is not None:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(LivePage, 'watch', stop)
        with pytest.raises(KeyboardInterrupt):
            run_demo(tmp_path, recipe=TINY)
    text = pages[-1][1]
    assert 'The run was stopped' in text and not loads_again(text)
    log = (tmp_path / 'tokenizer-seed0/log.jsonl').read_bytes()
    run_demo(tmp_path, recipe=TINY)
    assert (tmp_path / 'tokenizer-seed0/log.jsonl').read_bytes() == log
    assert 'The run was stopped' not in pages[-1][1] and pages[-1][0] is None


def test_a_folder_of_ones_own(pages, tmp_path):
    own = tmp_path / 'own <b>'
    for k in range(3):
        path = own / f'{"ab"[k % 2]}/{k}.gif'
        path.parent.mkdir(parents=True, exist_ok=True)
        write_video(path, ShapeWorld().batch([k])[0][0])
    small = replace(TINY.tokenizer, size=16)
    run_demo(tmp_path / 'out', data=own, recipe=replace(TINY, tokenizer=small))
    assert [stage for stage, _ in pages] == [0, 1, 1, 2, 3, None]
    assert 'Your clips, as the tokenizer sees them.' in pages[1][1]
    text = pages[-1][1]
    assert 'Shipped' not in text and 'Real clips' not in text and 'Frozen clips' in text
    assert 'rFVD' not in text  # of three clips
    assert '3 training clips' in text and 'own &lt;b&gt;' in text


def test_watching_changes_nothing(tmp_path):
    train, val = ShapeWorld(64, 32, 8), ShapeWorld(18, 32, 8, split='val')
    real, labels = collect_clips(val, 18)
    page = LivePage(tmp_path, dict(recipe=demo.asdict(TINY), tiers={}, baselines={}), 0, every=0)
    page.report |= dict(notes=[], data='', seed=0, hardware={})
    page.choose(real, labels, val.class_names)
    pairs = []
    for k, watch in enumerate((None, page.watch)):
        folder = tmp_path / str(k)
        pairs.append(fit_pair(TINY, train, real, 9, folder, 0, watch=watch)[:2])
    for plain, watched in zip(*pairs):
        for a, b in zip(plain.state_dict().values(), watched.state_dict().values()):
            assert torch.equal(a, b)


def test_the_address_is_printed_whatever_the_browser_does(tmp_path, monkeypatch, capsys):
    opened = []

    def fail(address):
        opened.append(address)
        raise webbrowser.Error('no browser')

    monkeypatch.setattr(webbrowser, 'open', fail)
    page = tmp_path / 'a b/index.html'
    for screen, wish, times in ((False, True, 0), (True, False, 0), (True, True, 1)):
        monkeypatch.setattr(demo, 'has_screen', lambda: screen)
        show_page(page, wish)
        assert len(opened) == times
    assert capsys.readouterr().out.count('/a%20b/index.html\n') == 3


@pytest.mark.parametrize(
    'platform, variables, seen',
    [
        ('linux', {}, False),
        ('linux', {'DISPLAY': ':0'}, True),
        ('linux', {'WAYLAND_DISPLAY': 'wayland-0'}, True),
        ('darwin', {}, True),
        ('darwin', {'SSH_CONNECTION': 'x'}, False),
        ('win32', {'CI': 'true'}, False),
    ],
)
def test_where_there_is_a_screen(monkeypatch, platform, variables, seen):
    for name in ('DISPLAY', 'WAYLAND_DISPLAY', 'SSH_CONNECTION', 'CI'):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr('sys.platform', platform)
    assert demo.has_screen() == seen
