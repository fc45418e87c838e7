"The tools in tools/ notice what they should: each test spoils one thing in a small repository."

import base64
import io
import json
import re
import shutil
import sys
from pathlib import Path
import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / 'tools'))
import badges
import check
import freshness
import layout
import notebooks
import readme


def shown(mime, data, **metadata):
    return {'output_type': 'display_data', 'data': {mime: data}, 'metadata': metadata}


def png(pixels):
    "A picture of an array (H, W, 3) of bytes, in base64."
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, 'PNG')
    return base64.b64encode(file.getvalue()).decode()


def pixels(picture):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(picture))).convert('RGB'))


DOT = png(np.zeros((1, 1, 3), np.uint8))
PNG = shown('image/png', DOT, **{'image/png': {'alt': 'a dot', 'width': 1}})
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


EXPORT = """#| export
def double(x: int) -> int:
    "Twice x."
    if x < 0:
        raise ValueError('x is negative, expected 0 or more')
    result = x
    for _ in range(1):
        result = 2 * x
    return result"""
OTHER = """#| export
def triple(x: int) -> int:
    "Three times x."
    return 3 * x"""
TIME = '**Time and hardware.** The page takes half a second on 1.5 cores. It needs no GPU.'
USE = "from larp_edu.first import double\n\ndouble(2), 'weights'"


@pytest.fixture(scope='session')
def made(tmp_path_factory):
    "A repository of two notebooks and an index, in order; 01 imports what 00 exports."
    path = tmp_path_factory.mktemp('made')
    for name in ('settings.ini', 'ruff.toml'):
        shutil.copy(ROOT / name, path)
    for d in ('nbs', 'larp_edu/assets', 'results'):
        (path / d).mkdir(parents=True)
    (path / 'larp_edu/assets/weights.json').write_text('{}')
    (path / 'nbs/index.ipynb').symlink_to('../index.ipynb')
    write(
        path / 'nbs/00_first.ipynb',
        prose('p', f'# First\n\n{TIME}'),
        code('d', '#| default_exp first'),
        code('e', EXPORT),
        code('o', OTHER),
    )
    write(path / 'nbs/01_second.ipynb', prose('p', f'# Second\n\n{TIME}'), code('a', USE, PNG))
    write(
        path / 'index.ipynb',
        prose('p', '# Title'),
        code('a', '#| hide\n1'),
        code('b', '1 + 1', PNG),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(notebooks, 'ROOT', path)
        badges.write()
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
    assert {name: f() for name, f in check.CHECKS.items()} == dict.fromkeys(check.CHECKS, [])


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


def test_a_variable_of_a_loop_is_no_name_of_the_module(repo):
    "`double` has an `x`, and so has the sum: that table is nothing that double needs."
    module = repo / 'larp_edu/first.py'
    module.write_text(module.read_text() + '\nTABLE, (A, B) = sum(x for x in (1, 2)), (3, 4)\n')
    package = freshness.Package(repo)
    assert set(package.reach([('first', 'double')])) == {('first', 'double')}
    assert package.reach([('first', 'x')]) == {}
    assert {name for _, name in package.reach([('first', 'B')])} == {'TABLE', 'A', 'B'}


def test_modules(repo):
    (repo / 'nbs/00_first.ipynb').unlink()
    assert [b.split(':')[0] for b in check.modules()] == ['first.py']


@pytest.mark.parametrize(
    'text,problem',
    [
        ('x = 1' + 100 * ' ' + '# far', 'E501'),
        ('x = 1; y = 2', 'E702'),
        ('import os', 'F401'),
        ('print(nothing)', 'F821'),
        ('def f(x=[]):\n    return x', 'B006'),
        ('x = "1"', 'would be reformatted'),
    ],
)
def test_style(repo, text, problem):
    write(repo / 'nbs/01_second.ipynb', code('a', text))
    assert any(problem in line for line in check.style())


@pytest.mark.parametrize(
    'cell,problem',
    [
        (
            code('e', '#| export\ndef double(x: int) -> int:\n    "2"'),
            'exported by first and second',
        ),
        (code('d', '#| default_exp other'), 'exports second, other, expected second'),
        (code('e', '#| export\ndef f(x: int) -> int:\n    return x'), 'f lacks a docstring'),
        (code('e', '#| export\ndef f(x) -> int:\n    "F."'), 'f lacks types of x'),
        (code('e', '#| export\ndef f():\n    "F."'), 'f lacks the type that it returns'),
        (prose('l', 'See [it](00_frist.ipynb).'), '00_frist.ipynb is not there'),
        (prose('l', 'As notebook 05 says.'), 'expected a link with a name'),
        (code('f', '#| fig-alt: A very\n#|   slow car.'), "a line begins with 'slow'"),
    ],
)
def test_layout(repo, cell, problem):
    "Each rule of the tree, broken once."
    assert check.rules() == []
    default = code('d0', '#| default_exp second')
    write(repo / 'nbs/01_second.ipynb', prose('p', '# Second'), default, cell)
    assert [b for b in check.rules() if problem in b]


def test_upward_import(repo):
    write(repo / 'nbs/00_early.ipynb', code('i', 'from larp_edu.second import f'))
    assert layout.imports() == ['00_early.ipynb, cell 1: imports 01_second']


def test_front_door(repo):
    path = repo / 'larp_edu/__init__.py'
    path.write_text("_HOMES = {'first': 'double'}\nif 0:\n    from .first import double\n")
    assert layout.front_door() == []
    path.write_text("_HOMES = {'first': 'double half'}\nif 0:\n    from .first import double\n")
    assert layout.front_door() == [
        "('half', 'first'): one of table and imports lacks it",
        'first.half does not exist',
    ]


def is_stale(repo):
    return any('stale' in problem for problem in second(repo))


@pytest.mark.parametrize(
    'old,new,stale',
    [
        ('double(2)', 'double(3)', True),
        ('# Second', '# 2nd', False),
        ('double(2)', 'double( 2)', False),
    ],
)
def test_stale_notebook(repo, old, new, stale):
    replace(repo / 'nbs/01_second.ipynb', old, new)
    assert is_stale(repo) == stale


@pytest.mark.parametrize(
    'old,new,stale',
    [
        ('2 * x', '4 * x', True),
        ('x < 0', 'x < 1', True),
        ('Twice x', 'x twice', False),
        ('return result', '\n    # a comment\n    return result', False),
        ('result', 'twice', False),  # the name of a local variable
        ('x: int', 'x: float', False),
        ('x is negative', 'x is below 0', False),  # a message that the page does not show
        ('3 * x', '5 * x', False),  # a definition that the page does not reach
    ],
)
def test_stale_module(repo, old, new, stale):
    replace(repo / 'larp_edu/first.py', old, new)
    assert is_stale(repo) == stale


@pytest.mark.parametrize(
    'old,new', [('x is negative', 'x is below 0'), ('"Twice x."', '"X twice."')]
)
def test_a_text_that_the_page_shows_counts(repo, old, new):
    path = repo / 'nbs/01_second.ipynb'
    text = 'Twice x.\nx is negative, expected 0 or more'
    said = {'output_type': 'stream', 'name': 'stdout', 'text': text}
    write(path, code('a', USE, said))
    stamp(path)
    assert not is_stale(repo)
    replace(repo / 'larp_edu/first.py', old, new)
    assert is_stale(repo)


def test_stale_module_of_a_module(repo):
    (repo / 'larp_edu/zeroth.py').write_text('two = 2')
    replace(repo / 'larp_edu/first.py', 'def double', 'from .zeroth import two\ndef double')
    replace(repo / 'larp_edu/first.py', '2 * x', 'two * x')
    stamp(repo / 'nbs/01_second.ipynb')
    assert second(repo) == []
    (repo / 'larp_edu/zeroth.py').write_text('two = 3')
    assert is_stale(repo)


def test_names_in_code_for_another_process_count(repo):
    path = repo / 'nbs/01_second.ipynb'
    write(path, code('a', "job = 'from larp_edu.first import double; double(2)'\nlen(job)"))
    stamp(path)
    replace(repo / 'larp_edu/first.py', '3 * x', '5 * x')
    assert not is_stale(repo)
    replace(repo / 'larp_edu/first.py', '2 * x', '4 * x')
    assert is_stale(repo)


def test_stale_asset(repo):
    (repo / 'larp_edu/assets/weights.json').write_text('{"seed": 1}')
    assert is_stale(repo)


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
        (shown('image/png', DOT), 'figure without alt text'),
        (shown('image/png', DOT, **{'image/png': {'alt': 'a dot'}}), 'figure without a width'),
    ],
)
def test_bad_output(repo, output, problem):
    path = repo / 'nbs/01_second.ipynb'
    write(path, code('a', USE, output))
    stamp(path)
    assert len(second(repo)) == 1 and problem in second(repo)[0]


def test_an_old_alt_text(repo):
    path = repo / 'nbs/01_second.ipynb'
    write(path, code('a', '#| fig-alt: a spot\n' + USE, PNG))
    stamp(path)
    assert second(repo) == ['cell 1: figure with an old alt text: run the page']
    write(path, code('a', '#| fig-alt: a dot\n' + USE, PNG))
    stamp(path)
    assert second(repo) == []


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
    "Flagged cells keep their output, bars and widgets go, figures get their text; all is current."
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
        code(
            'f',
            '#| fig-alt: A line.\nimport matplotlib.pyplot as plt\n'
            'from matplotlib_inline.backend_inline import set_matplotlib_formats\n'
            "set_matplotlib_formats('retina')\nplt.plot([1, 2]);",
        ),
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


def test_modules_are_100_columns_wide():
    "But for `__all__`, which nbdev wraps itself. A page's subtitle is the module's first line."
    for path in (ROOT / 'larp_edu').glob('[!_]*.py'):
        text = path.read_text()
        names = re.search(r'^__all__ = \[.*?\]\n', text, re.S | re.M)
        rest = text.replace(names[0], '') if names else text
        assert [line for line in rest.splitlines() if len(line) > 100] == [], path.name


def test_pictures_get_smaller():
    "Few colours: a palette, and the same pixels. More colours than anybody can halve: as they are."
    random = np.random.default_rng(0)
    drawing = np.repeat(random.integers(0, 50, (60, 60, 1)), 3, 2).astype(np.uint8)
    noise = random.integers(0, 256, (60, 60, 3)).astype(np.uint8)
    for picture, mode in ((drawing, 'P'), (noise, 'RGB')):
        found = notebooks.smaller(png(picture))
        assert Image.open(io.BytesIO(base64.b64decode(found))).mode == mode
        assert (pixels(found) == picture).all()
        assert len(found) <= len(png(picture))


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
        'FAILED: export, style, tests, tree: 5 of 9 checks passed, '
        '2 tests passed, 1 failed, 1 skipped'
    )


def test_a_test_that_hangs_fails_and_the_others_run(repo, capfd, monkeypatch):
    (repo / 'tests').mkdir()
    (repo / 'tests/test_it.py').write_text("""
import time
def test_a(): pass
def test_b(): time.sleep(300)
def test_c(): pass
def test_d(): pass
""")
    monkeypatch.setattr(check, 'LONGEST', 3)
    assert check.main()
    said = capfd.readouterr()
    assert said.out.splitlines()[-1].endswith('3 tests passed, 1 failed, 0 skipped')
    assert 'in test_b' in said.err  # where it hung


# ---- badges


def colab_cell(repo):
    nb = notebooks.read(repo / 'nbs/01_second.ipynb')
    return next(notebooks.source(cell) for cell in nb['cells'] if cell['id'] == 'colab')


def test_badges_say_what_the_page_and_the_settings_say(repo):
    nb = notebooks.read(repo / 'nbs/01_second.ipynb')
    assert [cell['id'] for cell in nb['cells']] == ['p', 'badges', 'colab', 'a']
    line = notebooks.source(nb['cells'][1])
    assert 'larp-edu/larp_edu/blob/main/nbs/01_second.ipynb' in line
    assert '![Time and hardware: Half a second on 1.5 cores]' in line
    svg = (repo / 'images/badges/01_second.svg').read_text()
    assert '<title>time: Half a second on 1.5 cores</title>' in svg
    assert badges.write() == []


@pytest.mark.parametrize(
    'file, old, new, found',
    [
        ('nbs/01_second.ipynb', 'half a second', 'two hours', 'the cell badges is out of step'),
        ('nbs/01_second.ipynb', '/content/larp_edu', '/content', 'the cell colab is out of step'),
        ('nbs/01_second.ipynb', 'Time and hardware.', 'Time.', 'no line that begins with'),
        ('nbs/01_second.ipynb', '"id": "badges"', '"id": "b"', 'cell 2 is not the cell badges'),
        ('images/badges/colab.svg', 'Colab', 'colab', 'colab.svg: out of step'),
        ('settings.ini', 'user = larp-edu', 'user = us', 'the cell badges is out of step'),
    ],
)
def test_badges_out_of_step_are_found_and_mended(repo, file, old, new, found):
    replace(repo / file, old, new)
    assert any(found in problem for problem in layout.badges())
    if 'no line' not in found:
        assert badges.write() and layout.badges() == []


def test_a_badge_of_no_page_is_found(repo):
    (repo / 'images/badges/07_gone.svg').touch()
    assert layout.badges() == ['images/badges/07_gone.svg: of no page']


def test_the_cell_for_colab_makes_no_page_stale(repo):
    nb = notebooks.read(repo / 'nbs/01_second.ipynb')
    before = notebooks.code_hash(nb)
    nb['cells'] = [cell for cell in nb['cells'] if cell['id'] != 'colab']
    assert notebooks.code_hash(nb) == before


@pytest.mark.parametrize('in_colab', [False, True])
def test_only_colab_installs(repo, monkeypatch, in_colab):
    ran, moved = [], []
    monkeypatch.setattr('subprocess.run', lambda words, check: ran.append(words))
    monkeypatch.setattr('os.chdir', moved.append)
    monkeypatch.delitem(sys.modules, 'google.colab', raising=False)
    if in_colab:
        monkeypatch.setitem(sys.modules, 'google.colab', object())
    exec(colab_cell(repo), {})
    if not in_colab:
        assert not ran and not moved
        return
    assert ran[0][:2] == ['git', 'clone'] and 'https://github.com/larp-edu/larp_edu' in ran[0]
    assert ran[1][1:4] == ['-m', 'pip', 'install'] and moved == ['/content/larp_edu/nbs']
