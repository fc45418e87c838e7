"""The panels without a browser: what the app makes first, how it is served, and its pictures."""

import json
import re
import subprocess
import sys
from pathlib import Path
import pytest
import larp_edu.explore as explore
from larp_edu.cli import App

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / 'tools/site'), str(ROOT / 'tools')]
import build


def test_the_first_picture_waits_for_nothing_else(monkeypatch):
    "Of three models one is loaded, and of six panels one is made, until a tab is opened."
    loaded = []

    def noted(name):
        loaded.append(name)
        return asset(name)

    asset = explore.asset
    monkeypatch.setattr(explore, 'asset', noted)
    tabs = explore.app()
    assert loaded == ['any_count.safetensors']
    assert [len(body.children) for body in tabs.bodies] == [1, 0, 0, 0, 0, 0]
    tabs.tab.selected_index = 3
    assert loaded[1:] == ['any_count_generator.safetensors']
    assert [len(body.children) for body in tabs.bodies] == [1, 0, 0, 1, 0, 0]
    tabs.tab.selected_index = 4
    assert len(loaded) == 2  # the generator was there


LEAN = """
import sys, time
from larp_edu.explore import app
tabs = app()
assert tabs.bodies[0].children[0].view.value.count('<img') == 3
late = {'matplotlib.figure', 'matplotlib.pyplot', 'scipy', 'torchvision', 'torch._dynamo'}
print(late & sys.modules.keys() or '', time.process_time())
"""


def test_the_first_picture_takes_little_time():
    "Of the processor, since the clock depends on what else runs; without what only figures need."
    command = [sys.executable, '-c', LEAN]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    *late, seconds = done.stdout.split()
    assert not late and float(seconds) < 5


def test_what_fails_in_a_tab_is_said_there(monkeypatch):
    tabs = explore.app()
    monkeypatch.setattr(explore, 'mix_panel', lambda *args: 1 / 0)
    tabs.tab.selected_index = 5
    (said,) = tabs.bodies[5].children
    assert 'ZeroDivisionError: division by zero' in said.value and 'alert' in said.value
    tabs.tab.selected_index = 1
    assert '<img' in tabs.bodies[1].children[0].view.value


def test_an_upload_is_in_all_panels(tmp_path):
    "Also in those that are opened later; the others go on showing what they show."
    from larp_edu.video import write_video

    tabs = explore.app()
    tabs.tab.selected_index = 1
    count, token = (tabs.bodies[i].children[0] for i in (0, 1))
    write_video(tmp_path / 'mine.gif', count.controls['clip'].value.video[0])
    before, data = token.view.value, (tmp_path / 'mine.gif').read_bytes()
    count.controls['clip'].receive(dict(new=[dict(name='mine.gif', content=memoryview(data))]))
    assert 'mine.gif' in count.view.value and token.view.value == before
    tabs.tab.selected_index = 5
    mix = tabs.bodies[5].children[0]
    for picker in (token.controls['clip'], mix.controls['first'], mix.controls['second']):
        assert [name for name, _ in picker.menu.options][-1] == 'mine.gif'
        assert picker.value.name != 'mine.gif'
    token.controls['clip'].menu.value = 9
    assert 'mine.gif' in token.view.value


def test_a_kernel_waits_for_the_page(monkeypatch, tmp_path):
    "The app runs before the page is opened: voila keeps a kernel ready."
    called = []
    monkeypatch.setattr('os.execv', lambda program, args: called.extend(args))
    App(folder=tmp_path, browser=False).run()
    assert {'--preheat_kernel=True', '--pool_size=1'} <= set(called)
    assert (tmp_path / 'app.ipynb').exists()


def test_the_app_names_what_to_install(monkeypatch):
    "Reading C: without extras another package, which voila brings, was missed with a traceback."
    monkeypatch.setitem(sys.modules, 'nbformat', None)
    monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
    with pytest.raises(ImportError, match='the app needs `pip install voila`'):
        App().run()


# ---- pages of the site


def stills(page):
    "What the site adds to a page."
    nb = json.loads(next((ROOT / 'nbs').glob(f'{page}_*.ipynb')).read_text())
    return [cell['source'] for cell in map(build.still, nb['cells']) if cell]


@pytest.mark.parametrize('page', ['01', '14', '16'])
def test_a_page_of_the_site_says_how_to_run_its_control(page):
    (text,) = stills(page)
    assert 'needs a kernel' in text and build.HOW in text


def test_a_page_of_the_site_has_pictures_of_its_panels():
    found = [re.search(r'images/panels/(\w+).png', text) for text in stills('32')]
    assert [match and match[1] for match in found] == list(build.PANELS)
    assert all(build.HOW in text for text in stills('32'))
    assert {path.stem for path in (ROOT / 'images/panels').glob('*.png')} == set(build.PANELS)


def test_the_link_leads_to_a_heading():
    target = build.HOW.split('#')[1].strip(')')
    nb = json.loads((ROOT / 'index.ipynb').read_text())
    heads = re.findall(
        '^#+ (.*)', '\n'.join(''.join(c['source']) + '\n' for c in nb['cells']), re.M
    )
    assert target in [head.lower().replace(' ', '-') for head in heads]


def test_copies_of_pages_have_the_pictures(tmp_path):
    build.copy_page(ROOT / 'nbs/32_explore.ipynb', tmp_path)
    cells = json.loads((tmp_path / '32_explore.ipynb').read_text())['cells']
    after = {a['id']: b['id'] for a, b in zip(cells, cells[1:])}
    shown = [cell['id'] for cell in cells if cell['id'].endswith('-still')]
    assert len(shown) == 6 and all(after[i.removesuffix('-still')] == i for i in shown)
