"""The grid of the claims: a tiny one runs for real, and the arithmetic of its verdicts is known."""

import json
import math
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
import pytest
import torch
from larp_edu.claims import CHEAP, CLAIMS, SECOND_MACHINE, Arm, Claim, ScoreTable, claim_table
from larp_edu.claims import claim_values
from larp_edu.claims import frontier_at, hull_at
from larp_edu.claims import judge_claim, lower_hull, make_claims, paired_interval, read_rows
from larp_edu.claims import size_in_words, verdict, verdict_sentence, verdicts
from larp_edu.files import save_model
from larp_edu.grid import FIRST, REGIMES, ArmLoss, Arms, GeneratorPoint, TokenizerPoint, World
from larp_edu.grid import begin_tokenizer, budget, make_grid, point_key, run_point, scale_of
from larp_edu.grid import write_row
from larp_edu.judge import ShapeNet
from larp_edu.tokenizer import LARPTokenizer

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / 'tools'))
import claims

TINY = Arms(REGIMES['tiny'], 0)


# ---- arithmetic with known answers


def test_an_interval_of_known_numbers():
    "t for 4 degrees of freedom is 2.776; the standard deviation of 1..5 is the root of 2.5."
    mean, low, high = paired_interval([1.0, 2.0, 3.0, 4.0, 5.0])
    assert mean == 3
    assert high - mean == pytest.approx(2.776 * math.sqrt(2.5 / 5))
    assert mean - low == pytest.approx(high - mean)
    for bad in ([], [1.0], [1.0] * 12):
        with pytest.raises(ValueError, match='expected 2 to 11'):
            paired_interval(bad)


def test_an_interval_covers_the_truth():
    "Of 2,000 intervals from five draws each, about 95 % contain the true mean."
    draws = torch.randn(2000, 5, generator=torch.Generator().manual_seed(0)).tolist()
    inside = [low <= 0 <= high for _, low, high in map(paired_interval, draws)]
    assert 0.93 < sum(inside) / len(inside) < 0.97


@pytest.mark.parametrize(
    'differences, sign, expected',
    [
        ([2.0, 2.1, 1.9], 1, 'reproduced'),
        ([2.0, 2.1, 1.9], -1, 'opposite'),
        ([-2.0, -2.1, -1.9], -1, 'reproduced'),
        ([2.0, -2.1, 1.9], 1, 'not at this scale'),
        ([0.0, 0.0, 0.0], 1, 'not at this scale'),
        ([2.0, 2.1], 1, 'too few seeds'),
        ([], 1, 'too few seeds'),
    ],
)
def test_verdicts(differences, sign, expected):
    assert verdict(differences, sign) == expected


def test_a_frontier():
    points = [(0.0, 4.0), (1.0, 3.9), (2.0, 1.0), (4.0, 0.0), (2.0, 5.0)]
    assert lower_hull(points) == [(0.0, 4.0), (2.0, 1.0), (4.0, 0.0)]
    assert hull_at(1.0, points) == 2.5
    assert hull_at(4.0, points) == 0.0
    assert hull_at(-0.1, points) is hull_at(4.1, points) is hull_at(0.0, []) is None


def row(name, seed, kind='TokenizerPoint', config=None, **scores):
    row = dict(name=name, seed=seed, kind=kind, question=1, scores=scores, config=config or {})
    return row | dict(hardware=dict(processor='one', gpu=None))


def generator_row(name, seed, clips=REGIMES['toy'].clips, size='middle', order=0, **scores):
    config = dict(steps=REGIMES['toy'].generator_steps, clips=clips, size=size, order=order)
    return row(name, seed, 'GeneratorPoint', config, **scores)


def test_a_claim_at_equal_distortion():
    "The prior's point lies 1 below the line between two cheap ones, in every seed."
    rows = []
    for seed in range(3):
        for name, psnr, nats in (('a', 20.0, 10.0), ('b', 22.0, 20.0), ('p', 21.0, 14.0)):
            rows += [row(name, seed, psnr=psnr), generator_row(name, seed, nats_clip=nats + seed)]
    claim = Claim(1, '', '', 'nats_clip', (Arm('p'),), (Arm('a'), Arm('b')), -1, equal='distortion')
    assert {s: d for s, (d, _) in claim_values(ScoreTable(rows), claim).items()} == {
        0: -1,
        1: -1,
        2: -1,
    }
    outside = replace(claim, plus=(Arm('b'),), minus=(Arm('a'), Arm('p')))
    assert claim_values(ScoreTable(rows), outside) == {}
    # rows that are there and say nothing are not rows that are missing
    assert judge_claim(ScoreTable(rows), outside)['verdict'] == 'nothing to compare with'
    assert judge_claim(ScoreTable(rows), outside)['run'] == 3
    missing = replace(claim, plus=(Arm('not run'),))
    assert judge_claim(ScoreTable(rows), missing)['verdict'] == 'not run yet'
    # a frontier that lacks an arm is none, and an arm is not compared with itself
    assert frontier_at(ScoreTable(rows), claim.minus, Arm('p'), 0, 'distortion', 'nats_clip') == 15
    more = (*claim.minus, Arm('not run'))
    assert frontier_at(ScoreTable(rows), more, Arm('p'), 0, 'distortion', 'nats_clip') is None
    own = (*claim.minus, Arm('p'))
    assert frontier_at(ScoreTable(rows), own, Arm('p'), 0, 'distortion', 'nats_clip') == 15


def test_arms_are_compared_on_one_machine():
    "With the prior 1 more on either machine, and 8 more across them."
    rows = [row('w0', 0, psnr=1.0, rfvd=10.0), row('w0.06', 0, psnr=1.0, rfvd=11.0)]
    rows += [row('w0', s, psnr=1.0, rfvd=10.0) for s in (1, 2)]
    other = [row('w0', s, psnr=1.0, rfvd=17.0) for s in (0, 1)]
    other += [row('w0.06', s, psnr=1.0, rfvd=18.0) for s in (0, 1, 2)]
    for made in other:
        made['hardware'] = dict(processor='other', gpu=None)
    table = ScoreTable(other + rows)
    claim = next(c for c in CLAIMS if c.measure == 'rfvd')
    found = judge_claim(table, claim)
    assert found['values'] == [1.0, 1.0, 8.0] and found['mixed'] == 1
    assert '3 of 3 (1 of two machines)' in claim_table(table)
    assert table.where((Arm('w0'), Arm('w0.06')), 3, 'rfvd') is None
    assert table.where((Arm('w0'), Arm('w0.06')), 2, 'rfvd') is table
    # a generator of the other machine goes with its tokenizer, not with the first one's
    gen = generator_row('w0', 0, gfvd=20.0)
    gen['hardware'] = dict(processor='one', gpu=None)
    assert ScoreTable(other + rows + [gen]).scores(Arm('w0'), 0)['rfvd'] == 10.0


def test_a_difference_of_differences():
    rows = []
    for name, value in (('a', 1.0), ('b', 2.0), ('c', 10.0), ('d', 14.0)):
        rows += [row(name, 0, psnr=1.0), generator_row(name, 0, clips=500, gfvd=value)]
    few = [Arm(name, clips=500) for name in 'abcd']
    claim = Claim(8, '', '', 'gfvd', (few[3], few[0]), (few[2], few[1]), 1)
    assert claim_values(ScoreTable(rows), claim)[0][0] == (14 - 10) - (2 - 1)
    assert judge_claim(ScoreTable(rows), claim)['verdict'] == 'too few seeds'


def test_curves_of_a_tokenizer_stay():
    "Its generator's row has curves and seconds of its own."
    rows = [row('a', 0, psnr=1.0, curves={'psnr': [[1, 2.0]]}, seconds=5.0)]
    rows += [generator_row('a', 0, gfvd=1.0, curves={}, seconds=7.0)]
    scores = ScoreTable(rows).scores(Arm('a'), 0)
    assert scores['curves'] == {'psnr': [[1, 2.0]]} and scores['seconds'] == 5.0
    assert scores['gfvd'] == 1.0


def test_what_is_subtracted_in_words():
    few = [Arm(name, clips=500) for name in 'abcd']
    one = Claim(1, '', '', 'gfvd', (Arm('a', size='large'),), (few[1],), 1)
    assert one.difference() == 'a, large generator less b, 500 clips'
    shuffled = tuple(Arm('a', order=k) for k in (1, 2, 3))
    order = Claim(6, '', '', 'nats', shuffled, 3 * (Arm('a'),), 1, parts=3)
    assert order.difference() == 'a, shuffled less a'
    two = Claim(8, '', '', 'gfvd', (Arm('a'), Arm('d')), (Arm('b'), Arm('c')), 1)
    assert two.difference() == '(a less b) less (c less d)'
    frontier = Claim(1, '', '', 'gfvd', (Arm('p'),), (Arm('a'), Arm('b')), 1, equal='rfvd')
    assert frontier.difference() == 'p less the frontier of a, b ...'


def test_decibels_become_squared_errors():
    rows = [
        row(name, s, psnr=1.0, psnr_plain=v)
        for s in range(3)
        for name, v in (('a', 20.0), ('b', 23.0))
    ]
    claim = Claim(1, '', 'none', 'psnr_plain', (Arm('a'),), (Arm('b'),), -1)
    found = judge_claim(ScoreTable(rows), claim)
    assert size_in_words(found) == 'squared error +100%'
    assert found['verdict'] == 'as expected' and found['agree'] == 3


def test_nothing_has_been_run():
    text = claim_table(ScoreTable([]))
    assert text.count('not run yet') == len(CLAIMS)


def test_the_sentence_says_what_the_rows_say():
    "The prior is worse by 2 in every seed, and 1 below the line through the cheap ways."
    rows = []
    arms = [('w0', 5.0, 10.0), ('w0.06', 7.0, 12.0)]
    arms += [(arm.name, 9.0, 16.0) for arm in CHEAP if arm.name != 'w0']
    for seed in range(3):
        for name, rfvd, gfvd in arms:
            near = 0.1 * seed
            rows += [row(name, seed, rfvd=rfvd, psnr=1.0)]
            rows += [generator_row(name, seed, gfvd=gfvd + (near if name == 'w0.06' else 0))]
    said = verdict_sentence(ScoreTable(rows))
    worse = 'tokenizer: no, they are worse (+2.1, 95 % interval +1.9 to +2.3, 3 seeds); '
    assert worse in said
    assert 'from the start: not run yet; ' in said
    assert 'shorter training: yes (-0.9, 95 % interval -1.1 to -0.7, 3 seeds); ' in said
    assert said.endswith('with one token for each patch: not run yet.')
    assert verdict_sentence(ScoreTable([])).count('not run yet') == 4


def test_the_stored_verdict_is_that_of_the_stored_rows():
    results = ROOT / 'results/claims'
    stored = json.loads((results / 'verdict.json').read_text())
    ids = {point.id for point in make_grid(REGIMES['toy'])}
    rows = read_rows(results)
    assert stored.pop('planned') == len(ids)
    assert stored.pop('points') == len(ids & {row['id'] for row in rows})
    assert stored == json.loads(json.dumps(verdicts(rows)))


def test_a_row_of_another_machine_is_kept(tmp_path):
    place = claims.Place(tmp_path / 'runs', tmp_path / 'results')
    point = next(iter(make_grid(REGIMES['toy'])))
    first = row('base', 0) | dict(id=point.id, key=place.key(point))
    second = first | dict(hardware=dict(processor='other', gpu=None))
    for made in (first, second):
        place.write(point, made)
    assert place.row(point) == json.loads(json.dumps(first))
    again = place.results / SECOND_MACHINE / f'{point.id}.json'
    assert json.loads(again.read_text()) == json.loads(json.dumps(second))
    assert [r['hardware']['processor'] for r in read_rows(place.results)] == ['one', 'other']


# ---- the grid


@pytest.mark.parametrize('name', ['toy', 'gpu'])
def test_a_grid_has_every_arm_of_the_claims(name):
    regime = REGIMES[name]
    grid = make_grid(regime)
    ids = [p.id for p in grid]
    assert len(set(ids)) == len(ids)
    names = {p.name for p in grid}
    scale = scale_of(regime)
    arms = [arm for claim in make_claims(scale) for arm in claim.plus + claim.minus]
    assert {arm.name for arm in arms} <= names
    gens = [p for p in grid if isinstance(p, GeneratorPoint)]
    made = {(p.name, p.size, p.clips, p.order, p.steps) for p in gens}
    asked = {
        (a.name, a.size, a.clips or scale.clips, a.order, a.steps or scale.steps) for a in arms
    }
    assert asked <= made
    assert sum(rows[5] for rows in budget(grid)[:-1]) == pytest.approx(budget(grid)[-1][5])


@pytest.mark.parametrize('regime', REGIMES)
def test_a_point_has_one_key(regime):
    "Also where it is the parent of another: 0 and 0.0 are equal, and not the same in a key."
    grid = make_grid(REGIMES[regime])
    keys = {point: point_key(point, '') for point in grid}
    for point in grid:
        for parent in point.parents:
            assert point_key(parent, '') == keys[parent], f'{point.id} has another {parent.id}'


@pytest.mark.parametrize('regime', REGIMES)
@pytest.mark.parametrize('question', FIRST)
def test_every_regime_has_every_question(regime, question):
    grid = make_grid(REGIMES[regime], 1, (question,))
    seen = set()
    for point in grid:
        assert set(point.parents) <= seen
        seen.add(point)


def test_a_grid_of_some_arms():
    "Those arms, their generators, and what they branch off from; an unknown name is refused."
    grid = claims.of_arms(make_grid(REGIMES['tiny'], 2), ['w0.06', 'whole-w0'])
    assert {p.name for p in grid} == {'base', 'w0.06', 'whole-w0'}
    assert {p.seed for p in grid} == {0, 1}
    assert any(isinstance(p, GeneratorPoint) for p in grid)
    with pytest.raises(SystemExit, match='--arms w7: no such arm, expected some of base, w0'):
        claims.of_arms(grid, ['w7'])


def test_keys():
    base = TINY.base()
    same = Arms(REGIMES['tiny'], 0).base()
    assert point_key(base, 'a') == point_key(same, 'a')
    others = [
        point_key(base, 'b'),
        point_key(replace(base, steps=7), 'a'),
        point_key(replace(base, world=World()), 'a'),
        point_key(TINY.branch('w0'), 'a'),
        point_key(replace(TINY.branch('w0'), start=replace(base, lr=1.0)), 'a'),
    ]
    assert len({point_key(base, 'a'), *others}) == 6


def test_points_that_cannot_be():
    with pytest.raises(ValueError, match='prior_depth'):
        replace(TINY.base(), weight=0.06)
    with pytest.raises(ValueError, match='small, middle, large'):
        TINY.generator(TINY.base(), size='huge')
    with pytest.raises(ValueError, match='at most the 64'):
        TINY.generator(TINY.base(), clips=65)


def test_a_branch_begins_with_the_weights_that_fit():
    start = LARPTokenizer(TINY.base().config)
    same = begin_tokenizer(TINY.branch('w0'), start)
    assert all(a.equal(b) for a, b in zip(start.parameters(), same.parameters()))
    few = begin_tokenizer(TINY.branch('few', n_tokens=4, codes=8), start)
    assert few.encoder.queries.equal(start.encoder.queries[:4])
    assert few.quantizer.embedding.weight.equal(start.quantizer.embedding.weight[:8])
    assert begin_tokenizer(TINY.branch('p', 0.06), start).prior is not None


def test_a_ramp_and_draws():
    "The prior's share of the loss follows the ramp; the ratio of draws the largest share."
    point = TINY.branch('p', 0.5, ramp=(0.0, 2.0), sampling=0.0)
    loss, terms, ratios = ArmLoss(point), dict(l2=torch.tensor(1.0), prior=torch.tensor(3.0)), []

    class Fake:
        recon, losses = torch.zeros(1, 3, 1, 1, 1), {}

    def tokenizer(clips, ratio, quantize):
        ratios.append(ratio)
        return Fake

    for progress, factor in ((0.0, 0.0), (0.5, 1.0), (1.0, 2.0)):
        loss.all_terms(tokenizer, Fake.recon, progress)
        assert loss.weighted_sum(terms).item() == pytest.approx(5 + 0.5 * factor * 3)
    assert ratios == [0.0, 0.0, 0.0]


def test_a_row_holds_no_nan(tmp_path):
    write_row(tmp_path / 'row.json', dict(a=float('nan'), b=[1.0, float('inf')], c=dict(d=(2, 3))))
    text = (tmp_path / 'row.json').read_text()
    assert json.loads(text) == dict(a=None, b=[1.0, None], c=dict(d=[2, 3]))


# ---- a tiny grid, for real


@pytest.fixture(scope='module')
def judge(tmp_path_factory):
    "A judge without any training."
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp('judge') / 'judge.safetensors'
    save_model(path, ShapeNet(facts=19))
    return path


def test_points_run(judge, tmp_path):
    "One tokenizer of each kind that branches off, patchwise, and generators, in this process."
    net = ShapeNet.load(judge)
    base, patch = TINY.base(), TINY.scratch('patch', 4, holistic=False, n_tokens=32)
    points = [base, TINY.branch('p', 0.06, prior_temperature=0.1), patch]
    points += [TINY.branch('few', n_tokens=4, codes=8, stochastic=False)]
    points += [TINY.generator(points[1]), TINY.generator(patch, order=1, size='small', clips=64)]
    for point in points:
        start = tmp_path / point.parents[0].id if point.parents else None
        scores = run_point(point, tmp_path / point.id, start, net)
        assert scores['clips'] == 40
        kinds = ('g', 'nats', 'copy_ratio') if isinstance(point, GeneratorPoint) else ('r', 'psnr')
        assert all(any(key.startswith(kind) for key in scores) for kind in kinds)
    assert len(scores['nats_by_position']) == 32
    # what is there is only measured
    began = (tmp_path / base.id / 'model.safetensors').stat().st_mtime_ns
    run_point(base, tmp_path / base.id, None, net)
    assert (tmp_path / base.id / 'model.safetensors').stat().st_mtime_ns == began


def test_an_order_is_undone():
    "A shuffled generator's tokens come back in the tokenizer's order."
    places = replace(TINY.generator(TINY.base()), order=2).places()
    tokens = torch.arange(16)
    assert sorted(places.tolist()) == list(range(16)) and places.tolist() != list(range(16))
    assert tokens[places][places.argsort()].equal(tokens)


def command(tmp_path, judge, *more):
    options = '--regime', 'tiny', '--only', '9', '--seeds', '1', '--jobs', '2'
    where = '--root', str(tmp_path), '--judge', str(judge)
    return [sys.executable, str(ROOT / 'tools/claims.py'), 'run', *options, *where, *more]


def test_a_killed_grid_goes_on(judge, tmp_path):
    "Killed after its first row; the second run makes the rest and leaves the first row alone."
    rows = tmp_path / 'results/claims/tiny'
    first = rows / 'base-seed0.json'
    process = subprocess.Popen(command(tmp_path, judge), stdout=subprocess.PIPE, text=True)
    while not first.exists():
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = first.read_bytes()
    done = subprocess.run(command(tmp_path, judge), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert first.read_bytes() == before
    grid = make_grid(REGIMES['tiny'], 1, (9,))
    assert {p.name for p in rows.iterdir()} == {f'{p.id}.json' for p in grid} | {'verdict.json'}
    made = json.loads((rows / 'rising-seed0.json').read_text())
    assert made['config']['ramp'] == [0.0, 2.0] and made['scores']['psnr'] > 0
    place = claims.Place(tmp_path / 'runs/claims/tiny', rows, judge)
    assert all(place.row(p) for p in grid)
    # where the weights are not, as in a fresh clone, what a missing row needs is trained again
    shutil.rmtree(tmp_path / 'runs')
    missing = next(p for p in grid if isinstance(p, GeneratorPoint))
    place.row_path(missing).unlink()
    again = subprocess.run(command(tmp_path, judge), capture_output=True, text=True)
    assert again.returncode == 0, again.stdout + again.stderr
    assert place.row(missing)
    # another config, another row
    assert place.row(replace(next(iter(grid)), steps=7)) is None
    assert isinstance(next(iter(grid)), TokenizerPoint)
