"""Retrain the small weights in larp_edu/assets: judge, tokenizer, generator, frame predictor, and the any-count and patchwise tokenizers of page 32_explore; hours on a CPU, resumed when killed.

python tools/assets.py [--seed 0] [--out runs/assets] [--only NAME ...]   NAME: shapenet, pair, frames, nested, patchwise"""

import argparse, json
from dataclasses import asdict, replace
from pathlib import Path
import torch
from larp_edu.shapeworld import ShapeWorld
from larp_edu.metrics import psnr
from larp_edu.story import (
    HELD_OUT,
    PairRecipe,
    SHIPPED,
    collect_clips,
    fit_pair,
    fit_tokenizer,
    measure_pair,
    recognised_share,
)
from larp_edu.judge import ShapeNet, train_shapenet
from larp_edu.machine import hardware
from larp_edu.nested import NestedTokenizer
from larp_edu.sampling import hold_frame
from larp_edu.files import asset, save_model
from larp_edu.tokenizer import LARPTokenizer, tokenizer_presets
from larp_edu.files import write_bytes


def ship(name, model, **card):
    "Weights as fp16, with a card inside the file and beside it."
    card = dict(card, command='make assets', hardware=hardware())
    save_model(asset(f'{name}.safetensors'), model, half=True, **card)
    write_bytes(asset(f'{name}.json'), (json.dumps(card, indent=1) + '\n').encode())


def shapenet(seed, real, labels, folder):
    net = train_shapenet(steps=1000, seed=seed)
    ship(
        'shapenet',
        net,
        recipe='larp_edu.fvd.train_shapenet',
        steps=1000,
        batch=64,
        seed=seed,
        accuracy=recognised_share(net, real, labels),
        clips=len(real),
    )


NESTED = PairRecipe(
    tokenizer_steps=6000,
    generator_steps=1500,
    clips=30_000,
    generator_batch=64,
    tokenizer=replace(tokenizer_presets['toy'], n_tokens=32),
)
PATCHWISE = PairRecipe(
    tokenizer_steps=2000,
    generator_steps=0,
    clips=0,
    tokenizer=replace(tokenizer_presets['toy'], n_tokens=32, holistic=False, dim=64),
)


def about(recipe):
    return {k: v for k, v in asdict(recipe).items() if k != 'tokenizer'}


def ship_pair(names, recipe, kind, seed, real, labels, folder, counts=(), rounds=1):
    tok, gen, _ = fit_pair(
        recipe, ShapeWorld(1_000_000, seed=seed + rounds - 1), real, 9, folder, seed, kind
    )
    tok.prior, tok.config = None, replace(tok.config, prior_depth=0)
    for model in (tok, gen):
        model.half().float()  # measured as they ship, rounded to fp16
    m = measure_pair(
        tok, gen, ShapeNet.load(asset('shapenet.safetensors')), real, labels, seed=seed
    )[0]
    if counts:
        m['psnr_at'] = {k: quality(tok, real, k) for k in counts}
    for name, model in zip(names, (tok, gen)):
        ship(
            name,
            model,
            recipe=about(recipe)
            | ({'rounds': rounds, 'warm_steps': NESTED.warm_steps} if rounds > 1 else {}),
            seed=seed,
            measured=m,
        )


@torch.no_grad()
def quality(tok, real, k=None):
    return (
        torch.cat([psnr(tok.decode(tok.encode(x)[:, :k]), x) for x in real.split(64)]).mean().item()
    )


def pair(seed, real, labels, folder):
    ship_pair(('tokenizer', 'generator'), SHIPPED, LARPTokenizer, seed, real, labels, folder)


def nested(seed, real, labels, folder):
    "Two rounds, each with a learning rate of its own that rises and falls; the second starts from the first's weights, on other clips."
    first, _ = fit_tokenizer(
        NESTED,
        ShapeWorld(1_000_000, seed=seed),
        real,
        folder / f'nested/first-seed{seed}',
        seed,
        NestedTokenizer,
    )
    ship_pair(
        ('any_count', 'any_count_generator'),
        replace(NESTED, warm_steps=0),
        lambda config: first.result.requires_grad_(),
        seed,
        real,
        labels,
        folder / 'nested',
        (1, 2, 4, 8, 16, 32),
        rounds=2,
    )


def patchwise(seed, real, labels, folder):
    trainer, _ = fit_tokenizer(
        PATCHWISE, ShapeWorld(1_000_000, seed=seed), real, folder / f'patchwise-seed{seed}', seed
    )
    tok = trainer.result
    tok.prior, tok.config = None, replace(tok.config, prior_depth=0)
    tok.half().float()
    ship(
        'patch_tokenizer',
        tok,
        recipe=about(PATCHWISE),
        seed=seed,
        psnr=quality(tok, real),
        clips=len(real),
    )


@torch.no_grad()
def nll(model, tok, real, given=4):
    return model.loss(tok.encode(real), tok.encode(hold_frame(real, given))).item()


def frames(seed, real, labels, folder):
    tok = LARPTokenizer.load(asset('tokenizer.safetensors'))
    model = train_frames(tok, seed=seed)
    ship(
        'frames',
        model,
        recipe='larp_edu.sampling.train_frames',
        steps=1500,
        seed=seed,
        nll=nll(model, tok, real),
        clips=len(real),
    )


NAMES = ('shapenet', 'pair', 'frames', 'nested', 'patchwise')

if __name__ == '__main__':
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('--seed', type=int, default=0)
    p.add_argument('--out', default='runs/assets')
    p.add_argument('--only', nargs='+', choices=NAMES, default=NAMES)
    a = p.parse_args()
    real, labels = collect_clips(ShapeWorld(HELD_OUT, split='val'), HELD_OUT)
    for name in a.only:
        globals()[name](a.seed, real, labels, Path(a.out))
