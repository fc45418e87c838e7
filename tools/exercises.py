"""The exercises of a page: taken apart, and tried on what the page has made.

An exercise is a heading `### 1. Title` under `## Exercises` and the cells below it; the page
nbs/08_exercises.ipynb says what they hold. `try_page` runs in the process of a page after its last
cell (tests/test_notebooks.py): wrong answers must be told what tests/wrong_answers.py says, and the
solution must be right.
"""

import contextlib
import io
import linecache
import re
import sys
from dataclasses import dataclass
from pathlib import Path
import notebooks

sys.path.insert(0, str(notebooks.ROOT / 'tests'))
from wrong_answers import WRONG

KINDS = ('predict', 'build', 'find out')
LEVELS = ('easy', 'medium', 'hard')
FOLDED = r'<details><summary>{}</summary>\n(.*?)</details>'


@dataclass
class Exercise:
    "One exercise of a page; what it lacks is empty."

    title: str  # with its number, '1. Half of the tokens'
    about: tuple[str, ...]  # kind, level, minutes; () if the line is missing or wrong
    question: str  # the prose, hints left out
    hints: list[str]
    solution: str  # the Python code of the folded solution, as it is on the page
    stub: str  # source of the cell with the blank
    checker: str  # source of the cell that looks at the answer
    hidden: bool  # whether the checker's source is folded away
    said: str  # the stored output of the checker

    @property
    def kind(self):
        return self.about[0] if self.about else ''

    @property
    def quick_solution(self):
        "The solution, with what its lines say of a test: `steps = 4000  # in tests: 20`."
        return re.sub(r'(?m)^(\s*[\w, ]+ = ).*  # in tests: (.*)$', r'\1\2', self.solution)


def exercises(path):
    "The exercises of a page, in order."
    cells = iter(notebooks.read(path)['cells'])
    for cell in cells:
        if cell['cell_type'] == 'markdown' and notebooks.source(cell).startswith('## Exercises'):
            break
    groups = []
    for cell in cells:
        text = notebooks.source(cell)
        if cell['cell_type'] == 'markdown' and text.startswith('## '):
            break
        if cell['cell_type'] == 'markdown' and text.startswith('### '):
            groups.append([])
        if groups:
            groups[-1].append(cell)
    return [read_exercise(group) for group in groups]


def read_exercise(cells):
    "An `Exercise` from its cells."
    prose = '\n\n'.join(notebooks.source(c) for c in cells if c['cell_type'] == 'markdown')
    code = [c for c in cells if c['cell_type'] == 'code']
    solutions = re.findall(FOLDED.format('Solution'), prose, re.S)
    blocks = re.findall(r'```python\n(.*?)```', '\n'.join(solutions), re.S)
    line = rf'^\*({"|".join(KINDS)}), ({"|".join(LEVELS)}), (\d+) minutes\*$'
    about = re.search(line, prose, re.M)
    checker = code[1] if len(code) > 1 else dict(source='', metadata={}, outputs=[])
    return Exercise(
        title=prose.splitlines()[0].removeprefix('### '),
        about=about.groups() if about else (),
        question=re.sub(r'<details>.*?</details>', '', prose, flags=re.S),
        hints=re.findall(FOLDED.format('Hint'), prose, re.S),
        solution='\n'.join(blocks),
        stub=notebooks.source(code[0]) if code else '',
        checker=notebooks.source(checker),
        hidden=checker['metadata'].get('jupyter', {}).get('source_hidden', False),
        said=''.join(t for o in checker['outputs'] for t in o.get('text', [])),
    )


def run_code(names, text, label):
    "Run source text in the namespace `names`, as a cell of its own."
    file = f'<{label}>'
    linecache.cache[file] = len(text), None, text.splitlines(True), file
    exec(compile(text, file, 'exec'), names)


def told(names, answer, checker):
    "What a checker prints of an answer, both source text."
    import torch  # the page has it already

    torch.manual_seed(0)
    run_code(names, answer, 'answer')
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        run_code(names, checker, 'checker')
    return printed.getvalue().strip()


@contextlib.contextmanager
def names_put_back(names):
    "Undo what is defined meanwhile in the namespace `names`, and close figures."
    before = dict(names)
    try:
        yield
    finally:
        names.clear()
        names.update(before)
        if plt := sys.modules.get('matplotlib.pyplot'):
            plt.close('all')


def try_exercise(names, exercise, wrong):
    "Raise AssertionError unless wrong answers are told what is wrong, and the solution is right."
    tries = [(exercise.stub, 'not answered yet: ')] if exercise.checker else []
    tries += [(answer, f'not yet: {part}') for answer, part in wrong]
    tries += [(exercise.quick_solution, 'right: ')]
    for answer, expected in tries:
        with names_put_back(names):
            said = told(names, answer, exercise.checker)
        start, _, part = expected.partition(': ')
        fits = said.startswith(f'{start}: ') and part in said
        assert fits or not exercise.checker, (
            f'{exercise.title}: expected {expected!r}, the checker says {said!r} of\n{answer}'
        )


def try_page(names, path):
    "Try all exercises of the page at `path` in the namespace `names`, in which it has run."
    path = Path(path)
    for exercise in exercises(path):
        try_exercise(names, exercise, WRONG.get(path.stem, {}).get(exercise.title, ()))
