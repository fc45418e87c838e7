"The tools in tools/ notice what they should: each test spoils one thing in a small copy of the repository."

import json, shutil, subprocess, sys
from pathlib import Path
import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / 'tools'))
import check, notebooks, readme


def shown(mime, data, **metadata):
    return {'output_type': 'display_data', 'data': {mime: data}, 'metadata': metadata}


PNG = shown('image/png', 'iVBORw0KGgo=', **{'image/png': {'alt': 'a dot'}})
WIDGET = shown('application/vnd.jupyter.widget-view+json', {})
ERROR = {'output_type': 'error', 'ename': 'ValueError', 'evalue': 'no', 'traceback': []}
STDERR = {'output_type': 'stream', 'name': 'stderr', 'text': 'a warning'}
BIG = {'output_type': 'stream', 'name': 'stdout', 'text': 'x' * 1_100_000}


def code(name, text, *outputs):
    return {
        'cell_type': 'code',
        'id': name,
        'metadata': {},
        'execution_count': None,
        'outputs': list(outputs),
        'source': text,
    }


def prose(name, text):
    return {'cell_type': 'markdown', 'id': name, 'metadata': {}, 'source': text}


def write(path, *cells, **ours):
    nb = {
        'cells': list(cells),
        'metadata': {'larp_edu': ours} if ours else {},
        'nbformat': 4,
        'nbformat_minor': 5,
    }
    path.write_text(json.dumps(nb, indent=1, sort_keys=True) + '\n')


def stamp(path):
    "Store the hash, as after a run."
    nb = notebooks.read(path)
    write(path, *nb['cells'], hash=notebooks.code_hash(nb), seconds=1.0)


EXPORT = '#| export\ndef double(x):\n    "Twice x."\n    return 2 * x'
USE = 'from larp_edu.first import double\ndouble(2), "weights"'


@pytest.fixture(scope='session')
def made(tmp_path_factory):
    "A repository of two notebooks and an index, in order; 01 imports what 00 exports."
    path = tmp_path_factory.mktemp('made')
    shutil.copy(ROOT / 'settings.ini', path)
    for d in ('nbs', 'larp_edu/assets', 'results'):
        (path / d).mkdir(parents=True)
    (path / 'larp_edu/assets/weights.json').write_text('{}')
    (path / 'nbs/index.ipynb').symlink_to('../index.ipynb')
    write(
        path / 'nbs/00_first.ipynb',
        prose('p', '# First'),
        code('d', '#| default_exp first'),
        code('e', EXPORT),
    )
    write(path / 'nbs/01_second.ipynb', prose('p', '# Second'), code('a', USE, PNG))
    write(
        path / 'index.ipynb',
        prose('p', '# Title'),
        code('a', '#| hide\n1'),
        code('b', '1 + 1', PNG),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(notebooks, 'ROOT', path)
        notebooks.nbdev('nbdev_export')
        for p in notebooks.notebooks():
            stamp(p)
        notebooks.nbdev('nbdev_clean')
        readme.main()
    return path


@pytest.fixture
def repo(made, tmp_path, monkeypatch):
    "A copy of it to spoil."
    shutil.copytree(made, tmp_path, symlinks=True, dirs_exist_ok=True)
    monkeypatch.setattr(notebooks, 'ROOT', tmp_path)
    return tmp_path


def replace(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def second(repo):
    return notebooks.problems(repo / 'nbs/01_second.ipynb')


def test_a_repository_in_order_passes(repo):
    assert all(f() == [] for f in check.CHECKS.values())


def test_export(repo):
    replace(repo / 'larp_edu/first.py', '2 * x', '3 * x')
    assert check.export()[0].startswith('larp_edu/first.py: differs')


def test_clean(repo):
    replace(repo / 'nbs/01_second.ipynb', '"execution_count": null', '"execution_count": 7')
    assert check.clean()[0].startswith('nbs/01_second.ipynb: was not clean')


def test_readme(repo):
    replace(repo / 'README.md', '# Title', '# Other')
    (repo / 'index_files/old.png').touch()
    assert [b.split(':')[0] for b in check.readme_matches()] == ['README.md', 'index_files/old.png']


def test_readme_leaves_out_hidden_cells_and_has_alt_text(repo):
    text = (repo / 'README.md').read_text()
    assert 'hide' not in text and '1 + 1' in text and '![a dot](index_files/index_1_0.png)' in text


def test_modules(repo):
    (repo / 'larp_edu/long.py').write_text('x = 1\n' * 301)
    (repo / 'nbs/00_first.ipynb').unlink()
    assert [b.split(':')[0] for b in check.modules()] == ['first.py', 'long.py']


@pytest.mark.parametrize(
    'old,new', [('double(2)', 'double(3)'), ('# Second', '# 2nd'), ('double(2)', 'double( 2)')]
)
def test_stale_notebook(repo, old, new):
    replace(repo / 'nbs/01_second.ipynb', old, new)
    assert bool(second(repo)) == (new == 'double(3)')


@pytest.mark.parametrize(
    'old,new',
    [('2 * x', '3 * x'), ('Twice x', 'x twice'), ('return', '\n    # a comment\n    return')],
)
def test_stale_module(repo, old, new):
    replace(repo / 'larp_edu/first.py', old, new)
    assert bool(second(repo)) == (new == '3 * x')


def test_stale_module_of_a_module(repo):
    (repo / 'larp_edu/zeroth.py').write_text('two = 2')
    replace(repo / 'larp_edu/first.py', 'def', 'from .zeroth import two\ndef')
    stamp(repo / 'nbs/01_second.ipynb')
    assert second(repo) == []
    (repo / 'larp_edu/zeroth.py').write_text('two = 3')
    assert 'stale' in second(repo)[0]


def test_stale_asset(repo):
    (repo / 'larp_edu/assets/weights.json').write_text('{"seed": 1}')
    assert 'stale' in second(repo)[0]


def test_version_and_files_not_named_do_not_count(repo):
    replace(repo / 'larp_edu/__init__.py', '__version__ = "', '__version__ = "9')
    (repo / 'larp_edu/assets/other.json').write_text('{}')
    assert second(repo) == []


def test_never_run(repo):
    write(repo / 'nbs/01_second.ipynb', code('a', '1'))
    assert second(repo) == ['never run by `make notebooks`']


@pytest.mark.parametrize(
    'output,problem',
    [
        (WIDGET, 'widget output'),
        (ERROR, 'error output: ValueError'),
        (STDERR, 'output on stderr: a warning'),
        (BIG, '1.1 MB, more than 1 MB'),
        (shown('image/svg+xml', '<svg/>'), 'image/svg+xml output'),
        (shown('image/png', 'iVBORw0KGgo='), 'figure without alt text'),
    ],
)
def test_bad_output(repo, output, problem):
    path = repo / 'nbs/01_second.ipynb'
    write(path, code('a', USE, output))
    stamp(path)
    assert len(second(repo)) == 1 and problem in second(repo)[0]


def test_widget_state(repo):
    replace(
        repo / 'nbs/01_second.ipynb',
        '"metadata": {\n  "larp_edu"',
        '"metadata": {\n  "widgets": {},\n  "larp_edu"',
    )
    assert second(repo) == ['widget state in the metadata']


def test_pictures_in_prose(repo):
    path = repo / 'nbs/01_second.ipynb'
    write(path, prose('p', '![](../README.md) ![a cat](cat.gif)'))
    stamp(path)
    assert second(repo) == [
        'cell 1: picture ../README.md without alt text',
        'cell 1: no picture cat.gif',
    ]


def test_run(repo):
    "Flagged cells keep their output, bars and widgets go, the figure gets its text, and the result is clean and current."
    path = repo / 'nbs/01_second.ipynb'
    write(
        path,
        prose('p', '# Second'),
        code('s', '#| slow\n1 / 0', PNG),
        code('t', 'from tqdm import tqdm\nfor i in tqdm(range(3)): pass'),
        code(
            'w',
            'import ipywidgets as w, sys\nfrom IPython.display import display\n'
            'display(w.IntSlider()); print(sys.prefix)',
        ),
        code('f', '#| fig-alt: A line.\nimport matplotlib.pyplot as plt\nplt.plot([1, 2]);'),
    )
    notebooks.run_all(['01'], '')
    assert second(repo) == [] and check.clean() == []
    nb = notebooks.read(path)
    kinds = [
        [o.get('name') or sorted(o['data']) for o in c.get('outputs', [])] for c in nb['cells']
    ]
    assert kinds == [[], [['image/png']], [], ['stdout'], [['image/png', 'text/plain']]]
    assert sys.prefix not in path.read_text()
    replace(path, '1 / 0', '2 / 0')  # the output that was kept is not of this code
    assert [b for b in second(repo) if 'a plain run skips' in b]


def test_run_stops_at_a_failure(repo):
    path = repo / 'nbs/00_first.ipynb'
    write(path, code('a', '1 / 0'))
    before = {p: p.read_bytes() for p in notebooks.notebooks()}
    with pytest.raises(SystemExit, match='FAILED, not saved(.|\n)*ZeroDivisionError'):
        notebooks.run_all([], '')
    assert before == {p: p.read_bytes() for p in notebooks.notebooks()}


def test_run_knows_no_such_notebook(repo):
    with pytest.raises(SystemExit, match='starts with 77'):
        notebooks.run_all(['77'], '')


def test_a_failing_test_is_counted(repo, capfd):
    (repo / 'tests').mkdir()
    (repo / 'tests/test_it.py').write_text("""
import pytest
def test_a(): pass
def test_b(): assert 0
@pytest.mark.skip
def test_c(): pass
def test_d(): open('README.md', 'w').close()
""")
    replace(repo / 'larp_edu/first.py', '2 * x', '3 * x')
    assert check.main()
    assert capfd.readouterr().out.splitlines()[-1] == (
        'FAILED: export, tests, tree: 4 of 7 checks passed, 2 tests passed, 1 failed, 1 skipped'
    )
