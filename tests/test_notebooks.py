"""Run every notebook as nbdev_test does: one test and one clean process each.

NB_FLAGS='slow' also runs cells flagged so. A page with exercises runs as a copy with one cell more,
which tries them."""

import json
import os
import subprocess
import sys
from pathlib import Path
import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / 'tools'))
from exercises import exercises

ENV = dict(os.environ, PYTHONPATH=os.pathsep.join([str(ROOT), str(ROOT / 'tools')]))
NBS = sorted((ROOT / 'nbs').glob('[!_.]*.ipynb'))


def test_there_are_notebooks():
    assert NBS


def test_index_is_among_them():
    assert (ROOT / 'nbs/index.ipynb').resolve() == ROOT / 'index.ipynb'


def with_exercises(nb, folder):
    "A copy of a page with a last cell that tries its exercises; a page without any, as it is."
    if not exercises(nb):
        return nb
    page = json.loads(nb.read_text(encoding='utf-8'))
    text = f'from exercises import try_page\n\ntry_page(globals(), {str(nb)!r})'
    cell = dict(cell_type='code', id='try', metadata={}, execution_count=None, outputs=[])
    page['cells'].append(cell | dict(source=text))
    for beside in ('images', 'reference', 'results'):
        (folder / beside).symlink_to(ROOT / beside)
    copy = folder / 'nbs' / nb.name
    copy.parent.mkdir()
    copy.write_text(json.dumps(page), encoding='utf-8')
    return copy


# A process that has imported what nearly every page imports, and nothing of larp_edu. It forks for
# each page, which saves the page the seconds that these imports take.
SERVER = """
import json, os, signal, sys
import matplotlib.pyplot, torch, torch._dynamo
from nbdev.test import nbdev_test

for line in sys.stdin:
    page, flags, said = json.loads(line)
    child = os.fork()
    if child == 0:
        signal.alarm(900)
        for stream, file in enumerate((os.devnull, said, said)):
            os.dup2(os.open(file, os.O_RDWR | os.O_APPEND), stream)
        nbdev_test(page, flags)
        sys.exit()
    print(os.waitpid(child, 0)[1], flush=True)
"""


@pytest.fixture(scope='session')
def server():
    "The process that forks, or None where processes cannot or should not."
    if sys.platform != 'linux':
        yield None
        return
    pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    command = [sys.executable, '-c', SERVER]
    with subprocess.Popen(command, cwd=ROOT, env=ENV, **pipes) as process:
        yield process


def run(server, nb, flags, said):
    "Run a notebook in a process of its own; what it printed goes to the file `said`."
    said.touch()
    if server:
        server.stdin.write(json.dumps([str(nb), flags, str(said)]) + '\n')
        server.stdin.flush()
        status = int(server.stdout.readline())
    else:
        command = [Path(sys.executable).with_name('nbdev_test'), '--path', nb, '--flags', flags]
        with open(said, 'w') as out:
            done = subprocess.run(command, cwd=ROOT, env=ENV, stdout=out, stderr=out, timeout=900)
        status = done.returncode
    # It also exits with 0 when it found nothing to run, so look for the word.
    text = said.read_text()
    assert status == 0 and 'Success.' in text, text


@pytest.mark.parametrize('nb', NBS, ids=lambda p: p.stem)
def test_notebook(server, nb, tmp_path):
    page = with_exercises(nb, tmp_path)
    run(server, page, os.environ.get('NB_FLAGS', ''), tmp_path / 'said.txt')
