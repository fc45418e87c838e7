"""Exercises are whole, and what looks at answers says what is wrong.

That every solution runs and is right, and that wrong answers are told so, is tried where the pages
run: tests/test_notebooks.py, by `try_page` of tools/exercises.py."""

import sys
from pathlib import Path
import pytest
import torch
from larp_edu.exercises import check, check_number, difference, first_pair, sees

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / 'tools'))
from exercises import Exercise, exercises, try_exercise
from wrong_answers import WRONG

PAGES = [p for k in range(10, 50) for p in (ROOT / 'nbs').glob(f'{k}_*.ipynb')]
ALL = [(page.stem, e) for page in PAGES for e in exercises(page)]
CHECKED = [(page, e) for page, e in ALL if e.kind != 'find out']


def named(pairs):
    return dict(argvalues=pairs, ids=[f'{page} {e.title}' for page, e in pairs])


@pytest.mark.parametrize('page', PAGES, ids=lambda p: p.stem)
def test_a_page_has_one_of_each_kind(page):
    kinds = {e.kind for e in exercises(page)}
    if page.stem < '4':  # parts 1 to 3; the pages at full scale have what fits them
        assert kinds == {'predict', 'build', 'find out'}
    assert kinds


@pytest.mark.parametrize('page, exercise', **named(ALL))
def test_an_exercise_is_whole(page, exercise):
    assert exercise.about, 'no line such as *predict, easy, 5 minutes*'
    assert 1 <= len(exercise.hints) <= 2 and all(hint.strip() for hint in exercise.hints)
    assert exercise.solution, 'no Python code in <details><summary>Solution</summary>'
    assert bool(exercise.stub) == bool(exercise.checker) == (exercise.kind != 'find out')


@pytest.mark.parametrize('page, exercise', **named(CHECKED))
def test_a_checked_exercise_has_a_blank_and_a_checker(page, exercise):
    blank = {'predict': ' = ...', 'build': 'raise NotImplementedError'}[exercise.kind]
    assert blank in exercise.stub
    assert 'check(' in exercise.checker or 'check_number(' in exercise.checker
    assert exercise.hidden, 'the source of the checker is not folded'
    assert exercise.said.startswith('not answered yet: ') and exercise.said.count('\n') == 1


@pytest.mark.parametrize('page, exercise', **named(CHECKED))
def test_wrong_answers_are_known(page, exercise):
    wrong = WRONG[page].get(exercise.title, [])
    assert len({part for _, part in wrong if part}) >= 2, 'fewer than two typical wrong answers'


def test_every_wrong_answer_has_its_exercise():
    told = {(page, title) for page, known in WRONG.items() for title in known}
    assert told == {(page, e.title) for page, e in CHECKED}


# ---- the module


def said(capsys, look, *args):
    look(*args)
    text = capsys.readouterr().out
    assert text.count('\n') == 1  # one line, always
    return text.strip()


def blank(x):
    raise NotImplementedError


def stops(x):
    return x.no_such_thing


class Broken:
    def run(self):
        raise ValueError('too early')


def look_at_double(answer):
    return difference(answer(torch.ones(2)), 2 * torch.ones(2))


@pytest.mark.parametrize(
    'answer, part',
    [
        (..., 'not answered yet: put your number'),
        (None, 'not answered yet: put your number'),
        (blank, 'not answered yet: write the body of `blank`'),
        (lambda x: 2 * x, 'right: so it is'),
        (lambda x: x, 'not yet: the result is 0.5 times the right one'),
        (lambda x: None, 'not yet: the result is None: is a `return` missing?'),
        (stops, 'of your cell raises an error: AttributeError'),
        (divmod, 'not yet: your code runs, but what it returns'),
    ],
)
def test_check(capsys, answer, part):
    assert part in said(capsys, check, answer, look_at_double, 'so it is.')


def test_check_names_the_line_in_a_class(capsys):
    text = said(capsys, check, Broken, lambda kind: kind().run(), 'so it is.')
    line = Broken.run.__code__.co_firstlineno + 1
    assert text == f'not yet: line {line} of your cell raises an error: ValueError: too early'


@pytest.mark.parametrize(
    'answer, part',
    [
        (10, 'right: ten'),
        (torch.tensor(10.4), 'right: ten'),
        (7, 'not yet: seven is the other one'),
        (-10, 'not yet: right in size, wrong in sign'),
        (20.2, 'not yet: twice the right number'),
        (5, 'not yet: half the right number'),
        (1000, 'not yet: a hundred times the right number: is it per cent'),
        (0.1, 'not yet: a hundredth of the right number'),
        (13, 'not yet: too large'),
        (70, 'not yet: much too large'),
        (1, 'not yet: much too small'),
        (-3, 'not yet: wrong in sign, and in size'),
        ('ten', "not yet: your answer is 'ten', expected one number"),
        (float('nan'), 'not yet: your answer is nan'),
    ],
)
def test_check_number(capsys, answer, part):
    wrong = {'seven is the other one': 7}
    assert said(capsys, check_number, answer, 10, 'ten.', 0.5, wrong).startswith(part)


def test_a_truth_of_zero(capsys):
    assert said(capsys, check_number, 0, 0, 'none.', 0.01).startswith('right')
    assert 'too large' in said(capsys, check_number, 2, 0, 'none.', 0.01)


def test_the_truth_is_not_computed_before_there_is_an_answer(capsys):
    def truth():
        raise AssertionError('too early')

    assert 'not answered yet' in said(capsys, check_number, ..., truth, 'so.', 1)


RIGHT = torch.arange(6.0).reshape(2, 3)


@pytest.mark.parametrize(
    'found, part',
    [
        (None, 'is a `return` missing?'),
        ([1, 2], 'the result is a list, expected a tensor'),
        (RIGHT.T, 'shape (3, 2), expected (2, 3)'),
        (RIGHT > 2, 'dtype torch.bool, expected torch.float32'),
        (-RIGHT, 'right in size, wrong in sign'),
        (3 * RIGHT, 'the result is 3 times the right one'),
        (RIGHT - 2, 'right but for a constant: -2'),
        (RIGHT.flip(0), 'the right numbers in the wrong places'),
        (RIGHT / 0, 'numbers are NaN'),
        (
            RIGHT.index_fill(1, torch.tensor(2), 9),
            '2 of 6 numbers are wrong; the first is at [0, 2]',
        ),
    ],
)
def test_difference(found, part):
    assert part in difference(found, RIGHT)


def test_difference_of_squares_and_of_masks():
    square = torch.arange(4.0).reshape(2, 2)
    assert difference(square.T, square) == 'the last two axes are exchanged'
    assert difference(~torch.eye(2).bool(), torch.eye(2).bool()) == 'True and False are exchanged'
    assert difference(square + 1e-6, square) is None
    assert difference(3.0, torch.tensor(3.0)) is None


def test_sees():
    seen = sees(lambda x: x.cumsum(0), torch.randn(4, 2))
    assert seen.equal(torch.ones(4, 4).tril().bool())
    assert first_pair(seen.triu(1)) is None and first_pair(~seen) == (0, 1)
    assert not sees(lambda x: torch.rand(3, 2) + 0 * x[:1], torch.randn(3, 2)).any()


# ---- the trial of a page


def exercise(**changes):
    parts = dict(title='1. Two', about=('predict', 'easy', '1'), question='', hints=['h'])
    parts |= dict(solution='two = 2  # in tests: 1 + 1', stub='two = ...', hidden=True, said='')
    checker = "check_number(two, 2, 'two.', 0.1)"
    return Exercise(**(parts | dict(checker=checker) | changes))


WRONG_TWO = [('two = 4', 'twice'), ('two = -2', 'wrong in sign')]


def test_a_page_is_tried_on_its_own_names():
    names = dict(check_number=check_number, two='kept')
    try_exercise(names, exercise(), WRONG_TWO)
    assert names['two'] == 'kept'


@pytest.mark.parametrize(
    'changes, wrong',
    [
        (dict(solution='two = 3'), WRONG_TWO),
        (dict(stub='two = 2'), WRONG_TWO),
        ({}, [('two = 2', 'twice')]),
        ({}, [('two = 4', 'thrice')]),
    ],
)
def test_a_trial_notices(changes, wrong):
    with pytest.raises(AssertionError, match='1. Two: expected'):
        try_exercise(dict(check_number=check_number), exercise(**changes), wrong)


def test_a_solution_that_stops_is_noticed():
    with pytest.raises(ZeroDivisionError):
        try_exercise(
            {}, exercise(about=('find out', 'easy', '1'), checker='', solution='1 / 0'), ()
        )
