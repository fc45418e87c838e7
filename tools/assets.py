"""Retrain the small weights in larp_edu/assets; hours on a CPU, resumed when killed.

    python tools/assets.py [--seed 0] [--out runs/assets] [--only NAME ...]

NAME: shapenet (the judge), pair (tokenizer and generator), frames (a generator that continues
frames), nested (any number of tokens, with its generator), patchwise (a tokenizer)."""

import argparse
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
import torch
from torch import Tensor
from larp_edu.files import asset, save_model, write_json
from larp_edu.generator import ARTransformer
from larp_edu.judge import ShapeNet, train_shapenet
from larp_edu.machine import hardware
from larp_edu.metrics import psnr
from larp_edu.nested import DecibelLoss, NestedTokenizer
from larp_edu.objective import LossWeights
from larp_edu.recipes import generator_recipes
from larp_edu.sampling import hold_frame
from larp_edu.shapeworld import ShapeWorld
from larp_edu.story import HELD_OUT, SHIPPED, PairRecipe, collect_clips, fit_pair
from larp_edu.story import fit_tokenizer, measure_pair, recognised_share
from larp_edu.tokenizer import LARPTokenizer, tokenizer_presets
from larp_edu.train import train_generator

# Two rounds, each with a learning rate of its own that rises and falls. The second goes on from
# the first's weights, on other clips.
FIRST = PairRecipe(
    tokenizer_steps=12_000,
    generator_steps=2000,
    clips=30_000,
    generator_batch=64,
    tokenizer=replace(tokenizer_presets['toy'], n_tokens=32, codes=1024, prior_depth=0),
)
SECOND = replace(
    FIRST, tokenizer_steps=5000, lr=0.3 * FIRST.lr, muon_lr=0.3 * FIRST.muon_lr, warm_steps=0
)
PATCHES = replace(FIRST.tokenizer, holistic=False)


@dataclass
class Run:
    "What every training here gets."

    seed: int
    out: Path  # for logs and checkpoints
    real: Tensor  # held-out clips (N, 3, T, H, W)
    labels: Tensor  # their classes (N,)

    def world(self, more=0):
        "Training clips."
        return ShapeWorld(1_000_000, seed=self.seed + more)


# ---- writing


def ship(name, model, **card):
    "Weights as fp16, with a card inside the file and beside it."
    card = dict(card, command='make assets', hardware=hardware())
    save_model(asset(f'{name}.safetensors'), model, half=True, **card)
    write_json(asset(f'{name}.json'), card)


def without_prior(tok):
    "The tokenizer as it ships: the prior has done its work, and weights are rounded to fp16."
    tok.prior, tok.config = None, replace(tok.config, prior_depth=0)
    return tok.half().float()


def on_card(recipe):
    "A recipe as the card tells it."
    return {k: v for k, v in asdict(recipe).items() if k != 'tokenizer'}


@torch.no_grad()
def mean_psnr(tok, real, k=None):
    "Mean PSNR of clips decoded from their first `k` tokens, in dB."
    batches = real.split(64)
    return torch.cat([psnr(tok.decode(tok.encode(x)[:, :k]), x) for x in batches]).mean().item()


# ---- one function for each name on the command line


def shapenet(run):
    net = train_shapenet(steps=1000, seed=run.seed)
    ship(
        'shapenet',
        net,
        recipe='larp_edu.judge.train_shapenet',
        steps=1000,
        batch=64,
        seed=run.seed,
        accuracy=recognised_share(net, run.real, run.labels),
        clips=len(run.real),
    )


def pair(run):
    tok, gen, _ = fit_pair(SHIPPED, run.world(), run.real, 9, run.out, run.seed)
    ship_pair(run, 'tokenizer', tok, 'generator', gen, on_card(SHIPPED))


def ship_pair(run, tok_name, tok, gen_name, gen, recipe, counts=()):
    "Measure a pair as it ships, and write both; `counts`: numbers of tokens to measure, too."
    tok = without_prior(tok)
    gen.half().float()
    net = ShapeNet.load(asset('shapenet.safetensors'))
    scores = measure_pair(tok, gen, net, run.real, run.labels, seed=run.seed)[0]
    if counts:
        scores['psnr_at'] = {k: mean_psnr(tok, run.real, k) for k in counts}
    for name, model in ((tok_name, tok), (gen_name, gen)):
        ship(name, model, recipe=recipe, seed=run.seed, measured=scores)


def frames(run):
    recipe = generator_recipes['frames']
    recipe = replace(recipe, train=replace(recipe.train, seed=run.seed))
    out = run.out / f'frames-seed{run.seed}'
    path = asset('tokenizer.safetensors')
    train_generator(recipe, path, 'shapeworld', out)
    model = ARTransformer.load(out / 'generator.safetensors')
    tok = LARPTokenizer.load(path)
    with torch.no_grad():
        given = tok.encode(hold_frame(run.real, recipe.given))
        nll = model.loss(tok.encode(run.real), given).item()
    ship(
        'frames',
        model,
        recipe="larp_edu.recipes.generator_recipes['frames']",
        given=recipe.given,
        steps=recipe.train.steps,
        seed=run.seed,
        nll=nll,
        clips=len(run.real),
    )


def nested(run):
    folder = run.out / 'nested'
    loss = decibel_loss(SECOND)
    start = first_round(run, FIRST, folder, NestedTokenizer)
    tok, gen, _ = fit_pair(
        SECOND, run.world(1), run.real, 9, folder, run.seed, start, objective=loss
    )
    counts = (1, 2, 4, 8, 16, 32)
    ship_pair(run, 'any_count', tok, 'any_count_generator', gen, rounds_on_card(loss), counts)


def patchwise(run):
    "Trained as `nested` is, but with a token for each patch and always all tokens."
    folder = run.out / 'patchwise'
    loss = decibel_loss(SECOND)
    start = first_round(run, replace(FIRST, tokenizer=PATCHES), folder, LARPTokenizer)
    trainer, _ = fit_tokenizer(
        replace(SECOND, tokenizer=PATCHES),
        run.world(1),
        run.real,
        folder / f'tokenizer-seed{run.seed}',
        run.seed,
        start,
        objective=loss,
    )
    tok = without_prior(trainer.result)
    ship(
        'patch_tokenizer',
        tok,
        recipe=rounds_on_card(loss),
        seed=run.seed,
        psnr=mean_psnr(tok, run.real),
        clips=len(run.real),
    )


def first_round(run, recipe, folder, kind):
    "Train it; a function that gives its tokenizer to the second round."
    place = folder / f'first-seed{run.seed}'
    loss = decibel_loss(recipe)
    trainer, _ = fit_tokenizer(recipe, run.world(), run.real, place, run.seed, kind, objective=loss)

    def trained(config):
        return trainer.result.requires_grad_()

    return trained


def decibel_loss(recipe):
    "In decibels, without a prior."
    warm = recipe.warm_steps / recipe.tokenizer_steps
    return DecibelLoss(LossWeights(l2=0.05, prior=0, warm=warm))


def rounds_on_card(loss):
    "Both rounds, as the card tells them."
    return on_card(FIRST) | dict(second_round=on_card(SECOND), loss=loss.weights.terms)


ASSETS: dict[str, Callable[[Run], None]] = {
    f.__name__: f for f in (shapenet, pair, frames, nested, patchwise)
}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--out', type=Path, default=Path('runs/assets'))
    parser.add_argument('--only', nargs='+', choices=ASSETS, default=list(ASSETS))
    args = parser.parse_args()
    clips = collect_clips(ShapeWorld(HELD_OUT, split='val'), HELD_OUT)
    for name in args.only:
        ASSETS[name](Run(args.seed, args.out, *clips))


if __name__ == '__main__':
    main()
