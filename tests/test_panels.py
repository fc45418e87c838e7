"""The panels without a browser: what the app makes first, how it is served, and its pictures."""

import subprocess
import sys
from pathlib import Path
import larp_edu.explore as explore
from larp_edu.cli import App

ROOT = Path(__file__).resolve().parents[1]


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
