"""Faults that a lab found when it built its own work on this package.

Each test failed before its fault was mended."""

import json
import warnings
from dataclasses import asdict, replace
import pytest
import torch
from safetensors import safe_open
from torch import nn
from larp_edu import evaluation
from larp_edu.cli import main, parse
from larp_edu.clips import hold_last_frame
from larp_edu.datasets import Films
from larp_edu.evaluation import evaluate, evaluate_reconstruction, load_partial, read_batch
from larp_edu.files import asset, fingerprint
from larp_edu.generator import ARConfig, ARTransformer, generator_presets, token_nll
from larp_edu.i3d import jepa_detector
from larp_edu.judge import toy_detector
from larp_edu.loading import spread_indices
from larp_edu.metrics import FeatureStats, kernel_distance
from larp_edu.pretrained import load_generator, load_tokenizer, save_released
from larp_edu.recipes import GeneratorRecipe, TokenizerRecipe, generator_recipes, tokenizer_recipes
from larp_edu.shapeworld import ShapeWorld
from larp_edu.train import RandomTokens, generator_check, make_generator_trainer
from larp_edu.train import train_generator, train_tokenizer
from larp_edu.video import write_video


# ---- data


@pytest.mark.parametrize('n, m', [(127, 64), (100, 64), (1000, 7), (5, 9), (0, 3)])
def test_indices_are_spread_over_all_of_a_data_set(n, m):
    "The last of 64 out of 127 was 63."
    found = spread_indices(range(n), m)
    assert len(found) == min(n, m)
    gaps = [b - a for a, b in zip(found, [*found[1:], n])]
    assert not gaps or found[0] == 0 and max(gaps) - min(gaps) <= 1


def test_a_clip_is_never_held_to_fewer_frames():
    "Eight frames held to seven were 15."
    with pytest.raises(ValueError, match='8 frames, expected at most 7'):
        hold_last_frame(torch.zeros(3, 8, 2, 2), 7)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    "Three films of class 0."
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    for k in range(3):
        write_video(tmp_path / f'{k}.mp4', ShapeWorld(3)[k][0])
    return tmp_path


@pytest.mark.parametrize(
    'files, labels, options, says',
    [
        (3, [0], {}, '3 files, 1 labels'),
        (3, [0, 0, 0], dict(keys=['a']), '1 keys'),
        (1, [77], dict(class_names=['a']), 'label 77, expected -1 .unknown. to 0'),
        (1, [-2], {}, 'label -2'),
    ],
)
def test_a_list_of_films_is_whole(folder, files, labels, options, says):
    "Films without a label were dropped, and labels without a class were taken."
    names = [f'{k}.mp4' for k in range(files)]
    with pytest.raises(ValueError, match=says):
        Films(folder, names, labels, 32, 8, **options)


def test_films_may_be_of_unknown_class(folder):
    films = Films(folder, ['0.mp4', '1.mp4'], [-1, 5], 32, 8)
    assert films.labels().tolist() == [-1, 5]
    assert len(Films(folder, ['0.mp4'], [0], 32, 8, class_names=['a'])) == 1


# ---- measures


class Pooled(nn.Module):
    "In place of V-JEPA: a linear map of the mean of the clip."

    def __init__(self, seed):
        super().__init__()
        torch.manual_seed(seed)
        self.map = nn.Linear(3, 8)

    def forward(self, pixel_values_videos, skip_predictor):
        self.last_hidden_state = self.map(pixel_values_videos.mean((1, 3, 4)))[:, None]
        return self


def test_two_networks_are_two_detectors():
    a, b, again = (jepa_detector(Pooled(seed), size=16) for seed in (0, 1, 0))
    assert a.name != b.name and a.name == again.name


def test_a_mean_over_pieces_counts_every_row_once():
    "The last piece has one row of 33, and it counted as much as 32."
    torch.manual_seed(0)
    model = ARTransformer(ARConfig(4, 8, 3, dim=8, depth=1, heads=1)).eval()
    nn.init.normal_(model.out.weight, std=2.0)
    tokens, classes = torch.randint(8, (33, 4)), torch.randint(3, (33,))
    with torch.no_grad():
        found = generator_check(None, tokens, classes, None)(model, 0)['nll_held_out']
        assert found == pytest.approx(token_nll(model, tokens, classes).mean().item(), abs=1e-6)


@pytest.fixture(scope='module')
def tok():
    return load_tokenizer('tokenizer')


def by_class(n):
    "Clips of the shape world in the order of their classes."
    world = ShapeWorld(n)
    return world.only(sorted(range(n), key=lambda i: int(world.labels()[i])))


def halves(k, batch, n):
    "Numbers of the clips of a batch on both sides of the kernel distance."
    return [[k * batch + i for i in side] for side in evaluation._halves(k, batch, n)]


@pytest.mark.parametrize('batch', [1, 5, 16])
def test_a_clip_is_not_compared_with_its_reconstruction(tok, batch, tmp_path, monkeypatch):
    "The first clips of a sorted set were compared with their own reconstructions."
    monkeypatch.setattr(evaluation, 'KERNEL_ROWS', 8)
    data, toy = by_class(40), toy_detector()
    evaluate_reconstruction(tok, data, toy, tmp_path, batch)
    stats = load_partial(tmp_path / 'reconstruction-part0.npz').stats
    every = toy.features(read_batch(data, 0, 40)[0])
    found = [((every - row).norm(dim=1)).argmin().item() for row in stats['real'].rows]
    made = [i for k in range(-(-40 // batch)) for i in halves(k, batch, 40)[1]]
    assert sorted(found) == found and len(made) == len(stats['reconstructed'].rows) == 8
    assert not set(found) & set(made)
    assert len({int(data.labels()[i]) for i in found}) > 4
    whole = FeatureStats(64).update(every)
    assert torch.allclose(stats['real'].mean, whole.mean)


def test_a_tokenizer_without_loss_has_no_kernel_distance_below_zero(tok, tmp_path, monkeypatch):
    "Of equal sets, paired, it was far below zero."
    monkeypatch.setattr(tok, 'encode', lambda clips: setattr(tok, 'kept', clips) or torch.zeros(1))
    monkeypatch.setattr(tok, 'decode', lambda indices, frames: tok.kept)
    monkeypatch.setattr(evaluation.PartialResults, 'add_codes', lambda *_: None)
    monkeypatch.setattr(evaluation, '_reconstruction_scores', lambda r: dict(psnr=0.0))
    data = by_class(400)
    evaluate_reconstruction(tok, data, toy_detector(), tmp_path)
    stats = load_partial(tmp_path / 'reconstruction-part0.npz').stats
    found = kernel_distance(stats['real'].rows, stats['reconstructed'].rows)
    every = toy_detector().features(read_batch(data, 0, 400)[0])
    assert found > kernel_distance(every, every) + 0.02


def test_few_clips_are_said(tok, tmp_path):
    "Eight clips gave an FVD without a word."
    with pytest.warns(UserWarning, match='FVD of 8 clips, fewer than 5 for each of 64 features'):
        r = evaluate_reconstruction(tok, ShapeWorld(8), toy_detector(), tmp_path / 'few')
    assert 'FVD of 8 clips' in r['made']['warning']
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        r = evaluate_reconstruction(tok, ShapeWorld(320), toy_detector(), tmp_path / 'many')
    assert 'warning' not in r['made']


@pytest.mark.parametrize(
    'data, generator, options',
    [
        ('shapeworld', None, dict(guidance_scale=2.0)),
        ('shapeworld', None, dict(fast=True)),
        ('shapeworld', 'generator', dict(cond_frames=3)),
        ('shapeworld', 'generator', dict(size=64)),
        ('shapeworld', 'frames', dict(guidance_scale=7.0)),
        ('shapeworld', 'frames', dict(lpips=True)),
        ('folder:nowhere', None, dict(n=3)),
    ],
)
def test_an_option_without_effect_is_refused(data, generator, options, tmp_path):
    name = next(iter(options))
    with pytest.raises(ValueError, match=f'{name} is .*, which has no effect here'):
        evaluate('tokenizer', data, tmp_path / 'o', toy_detector(), generator, **options)
    assert not (tmp_path / 'o').exists()


def test_the_shipped_generator_of_frames_says_what_it_was_given(tmp_path):
    "Its card named a function that is gone, and it could not be measured without cond_frames."
    r = evaluate('tokenizer', 'shapeworld', tmp_path, toy_detector(), 'frames', n=8)
    assert r['prediction']['header']['about']['cond_frames'] == 4


def test_a_card_names_a_recipe_that_is_there():
    path = asset('frames.safetensors')
    card = json.loads(safe_open(path, 'pt').metadata()['json'])
    assert card['recipe'] == "larp_edu.recipes.generator_recipes['frames']"
    recipe = generator_recipes['frames']
    assert (card['given'], card['steps']) == (recipe.given, recipe.train.steps)
    beside = json.loads(path.with_suffix('.json').read_text())
    assert beside == {name: card[name] for name in beside}


# ---- recipes and training


@pytest.mark.parametrize(
    'kind, recipes', [(TokenizerRecipe, tokenizer_recipes), (GeneratorRecipe, generator_recipes)]
)
def test_a_recipe_is_json_and_back(kind, recipes):
    "Dicts were taken for parts, and failed only when the run began."
    for recipe in recipes.values():
        values = json.loads(json.dumps(asdict(recipe)))
        assert kind.from_dict(values) == recipe
        with pytest.raises(ValueError, match='model is a dict, expected a .*from_dict'):
            kind(**values)
        for wrong, says in (
            (dict(values, model=dict(values['model'], depths=3)), "model has no field 'depths'"),
            (dict(values, train=7), 'train is 7, expected a dict'),
            (dict(values, train=dict(batch=3)), 'train: .*steps'),
            (dict(values, train=dict(values['train'], lr='1')), 'train: '),
        ):
            with pytest.raises(ValueError, match=says):
                kind.from_dict(wrong)


def test_parts_of_a_recipe_are_of_their_kinds():
    tokenizer, generator = tokenizer_recipes['mini'], generator_recipes['mini']
    with pytest.raises(ValueError, match='model is a ARConfig, expected a TokenizerConfig'):
        replace(tokenizer, model=generator.model)
    with pytest.raises(ValueError, match='train is a LossWeights'):
        replace(generator, train=tokenizer.weights)
    with pytest.raises(ValueError, match="expected 'lpips' or 'random'"):
        replace(tokenizer, perceptual='frames')


def short(recipe, **train):
    "A recipe of a few steps."
    few = dict(steps=4, warmup=1, save_every=4, log_every=2, best='')
    return replace(recipe, train=replace(recipe.train, **(few | train)))


def table(n=40, given=0):
    return RandomTokens(load_tokenizer('tokenizer'), given, 9, n)


@pytest.mark.parametrize(
    'asked, given, says',
    [
        (dict(n_tokens=5), 0, 'n_tokens is 5, but .* say 16'),
        (dict(codes=77), 0, 'codes is 77, but .* say 256'),
        (dict(classes=77), 0, 'classes is 77, but .* say 9'),
        (dict(classes=0), 0, 'classes is 0, but .* say 9'),
        (dict(classes=9), 4, 'classes is 9, but .* say 0'),
    ],
)
def test_a_recipe_for_other_tokens_is_refused(tok, asked, given, says):
    "They were replaced without a word, and the card told those of the recipe."
    recipe = short(replace(generator_recipes['mini'], given=given))
    recipe = replace(recipe, model=replace(recipe.model, **asked))
    with pytest.raises(ValueError, match=says):
        make_generator_trainer(recipe, tok, table(given=given), table(given=given), 9, None)


def test_a_recipe_for_these_tokens_is_taken(tok):
    recipe = short(generator_recipes['toy'])
    for model in (recipe.model, replace(recipe.model, n_tokens=16, codes=256, classes=9)):
        trainer = make_generator_trainer(
            replace(recipe, model=model), tok, table(), table(), 9, None
        )
        assert trainer.raw.config == generator_presets['toy']


def test_a_wrong_number_of_codes_fails_before_a_clip_is_read(tmp_path):
    recipe = short(generator_recipes['mini'])
    recipe = replace(recipe, model=replace(recipe.model, codes=77))
    with pytest.raises(ValueError, match='codes is 77'):
        train_generator(recipe, 'tokenizer', 'shapeworld', tmp_path / 'x')
    assert not (tmp_path / 'x').exists()


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    "A run of a generator with fewer rows than its batch, and the warnings that it gave."
    out = tmp_path_factory.mktemp('run') / 'x'
    recipe = short(replace(generator_recipes['mini_frames'], clips=40))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter('always')
        train_generator(recipe, 'tokenizer', 'shapeworld', out, name='mini_frames')
    return out, [str(w.message) for w in said]


def test_a_card_tells_what_was_trained(run):
    "It told the batch, tokens and classes that were asked for."
    out, said = run
    assert any('the batch is 40 instead of 64' in text for text in said)
    card = load_generator(out / 'generator.safetensors').card
    recipe = GeneratorRecipe.from_dict(card['recipe'])
    assert recipe.train.batch == 40
    assert asdict(recipe.model) == card['config']
    assert (card['config']['n_tokens'], card['config']['classes']) == (16, 0)


# ---- files


def test_a_checkpoint_becomes_a_model(run, tmp_path):
    "There was no way to the weights of a run that had not ended."
    path = run[0] / 'checkpoint.safetensors'
    with pytest.raises(ValueError, match='is a checkpoint: `larp export .* writes its model'):
        load_generator(path)
    main(['export', str(path), '--out', str(tmp_path / 'a.safetensors')])
    main(['export', str(path), '--out', str(tmp_path / 'b.safetensors'), '--raw'])
    a, b = (load_generator(tmp_path / f'{name}.safetensors') for name in 'ab')
    done = load_generator(run[0] / 'generator.safetensors')
    assert fingerprint(a) == fingerprint(done) != fingerprint(b)
    assert (a.card['weights'], b.card['weights']) == ('averaged', 'of the last step')
    assert (a.card['steps'], a.card['given']) == (4, 4)
    with pytest.raises(SystemExit, match='exists; remove it'):
        main(['export', str(path), '--out', str(tmp_path / 'a.safetensors')])
    with pytest.raises(SystemExit, match='is no checkpoint'):
        main(['export', str(tmp_path / 'a.safetensors'), '--out', str(tmp_path / 'c')])


def test_messages_say_what_a_file_is(tok, tmp_path):
    save_released(tok, tmp_path / 'tok')
    save_released(load_generator('generator'), tmp_path / 'gen')
    with pytest.raises(ValueError, match='weights only: give its folder'):
        load_tokenizer(tmp_path / 'tok/model.safetensors')
    with pytest.raises(ValueError, match='holds a tokenizer, expected a generator'):
        load_generator(tmp_path / 'tok')
    with pytest.raises(ValueError, match='holds a generator, expected a tokenizer'):
        load_tokenizer(tmp_path / 'gen')
    with pytest.raises(ValueError, match=r'holds LARPTokenizer, a tokenizer, expected a gen'):
        load_generator(asset('tokenizer.safetensors'))


def test_a_recipe_file_trains(tmp_path):
    file = tmp_path / 'own.json'
    recipe = short(tokenizer_recipes['mini'])
    file.write_text(json.dumps(asdict(recipe)))
    words = ['train', 'tokenizer', '--recipe', str(file), '--out', str(tmp_path / 'x')]
    command = parse([*words, '--train.seed', '3'])
    assert command.recipe == short(tokenizer_recipes['mini'], seed=3)
    assert command.preset == 'own'
    file.write_text('{"model": 3}')
    with pytest.raises(SystemExit, match='error: model is 3, expected a dict'):
        parse(words)
    with pytest.raises(SystemExit, match='error: .*nothing'):
        parse(['train', 'generator', '--recipe', str(tmp_path / 'nothing')])


# ---- beginning with other weights


def test_a_run_begins_with_the_weights_of_another(run, tmp_path):
    "The card names them, a run that goes on must name them again, and they have to fit."
    file = run[0] / 'generator.safetensors'
    first = load_generator(file)
    recipe = short(replace(generator_recipes['mini_frames'], clips=40))
    recipe = replace(recipe, train=replace(recipe.train, lr=1e-9, muon_lr=0.0))
    out = tmp_path / 'again'
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # fewer clips than a batch has
        train = lambda **kw: train_generator(recipe, 'tokenizer', 'shapeworld', out, **kw)  # noqa: E731
        train(start=file)
        again = load_generator(out / 'generator.safetensors')
        assert again.card['start'] == fingerprint(first)
        pairs = zip(first.parameters(), again.parameters())
        assert max((a - b).abs().max() for a, b in pairs) < 1e-6
        with pytest.raises(ValueError, match='trained with start, of which nothing is said now'):
            train()


def test_weights_to_begin_with_have_to_fit(tmp_path):
    recipe = tokenizer_recipes['mini']
    with pytest.raises(ValueError, match='LARPTokenizer [0-9a-f]{8}'):
        train_tokenizer(recipe, 'shapeworld', tmp_path / 'x', start='tokenizer')
    with pytest.raises(OSError):
        train_tokenizer(recipe, 'no such data', tmp_path / 'x', start=tmp_path / 'none')
