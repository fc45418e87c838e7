"""Retrain the small weights in larp_edu/assets: judge, tokenizer, generator, frame predictor, and the any-count and patchwise tokenizers of notebook 14; hours on a CPU, resumed when killed.

python tools/assets.py [--seed 0] [--out runs/assets] [--only NAME ...]   NAME: shapenet, pair, frames, nested, patchwise"""
import argparse, json
from dataclasses import asdict, replace
from pathlib import Path
import torch
from larp_edu.data import ShapeWorld
from larp_edu.demo import HELD_OUT, SHIPPED, Recipe, collect, measure, psnr, recognised, train_pair, train_tokenizer
from larp_edu.fvd import ShapeNet, train_shapenet
from larp_edu.io import hardware
from larp_edu.nested import NestedTokenizer
from larp_edu.sampling import hold, train_frames
from larp_edu.tokenizer import LARPTokenizer, asset, presets, save_model
from larp_edu.video import write_bytes

def ship(name, model, **card):
    "Weights as fp16, with a card inside the file and beside it."
    card = dict(card, command='make assets', hardware=hardware())
    save_model(asset(f'{name}.safetensors'), model, half=True, **card)
    write_bytes(asset(f'{name}.json'), (json.dumps(card, indent=1) + '\n').encode())

def shapenet(seed, real, labels, folder):
    net = train_shapenet(steps=1000, seed=seed)
    ship('shapenet', net, recipe='larp_edu.fvd.train_shapenet', steps=1000, batch=64, seed=seed, accuracy=recognised(net, real, labels), clips=len(real))

NESTED = Recipe(tokenizer_steps=6000, generator_steps=1500, clips=30_000, generator_batch=64, tokenizer=replace(presets['toy'], n_tokens=32))
PATCHWISE = Recipe(tokenizer_steps=2000, generator_steps=0, clips=0, tokenizer=replace(presets['toy'], n_tokens=32, holistic=False, dim=64))

def about(recipe): return {k: v for k, v in asdict(recipe).items() if k != 'tokenizer'}

def ship_pair(names, recipe, kind, seed, real, labels, folder, counts=(), rounds=1):
    tok, gen, _ = train_pair(recipe, ShapeWorld(1_000_000, seed=seed + rounds - 1), real, 9, folder, seed, kind)
    tok.prior, tok.config = None, replace(tok.config, prior_depth=0)
    for model in (tok, gen): model.half().float()                                 # measured as they ship, rounded to fp16
    m = measure(tok, gen, ShapeNet.load(asset('shapenet.safetensors')), real, labels, seed=seed)[0]
    if counts: m['psnr_at'] = {k: quality(tok, real, k) for k in counts}
    for name, model in zip(names, (tok, gen)): ship(name, model, recipe=about(recipe) | ({'rounds': rounds, 'warm_steps': NESTED.warm_steps} if rounds > 1 else {}), seed=seed, measured=m)

@torch.no_grad()
def quality(tok, real, k=None): return torch.cat([psnr(tok.decode(tok.encode(x)[:, :k]), x) for x in real.split(64)]).mean().item()

def pair(seed, real, labels, folder): ship_pair(('tokenizer', 'generator'), SHIPPED, LARPTokenizer, seed, real, labels, folder)

def nested(seed, real, labels, folder):
    "Two rounds, each with a learning rate of its own that rises and falls; the second starts from the first's weights, on other clips."
    first, _ = train_tokenizer(NESTED, ShapeWorld(1_000_000, seed=seed), real, folder / f'nested/first-seed{seed}', seed, NestedTokenizer)
    ship_pair(('any_count', 'any_count_generator'), replace(NESTED, warm_steps=0), lambda config: first.result.requires_grad_(), seed, real, labels, folder / 'nested', (1, 2, 4, 8, 16, 32), rounds=2)

def patchwise(seed, real, labels, folder):
    trainer, _ = train_tokenizer(PATCHWISE, ShapeWorld(1_000_000, seed=seed), real, folder / f'patchwise-seed{seed}', seed)
    tok = trainer.result; tok.prior, tok.config = None, replace(tok.config, prior_depth=0); tok.half().float()
    ship('patch_tokenizer', tok, recipe=about(PATCHWISE), seed=seed, psnr=quality(tok, real), clips=len(real))

@torch.no_grad()
def nll(model, tok, real, given=4): return model.loss(tok.encode(real), tok.encode(hold(real, given))).item()

def frames(seed, real, labels, folder):
    tok = LARPTokenizer.load(asset('tokenizer.safetensors'))
    model = train_frames(tok, seed=seed)
    ship('frames', model, recipe='larp_edu.sampling.train_frames', steps=1500, seed=seed, nll=nll(model, tok, real), clips=len(real))

NAMES = ('shapenet', 'pair', 'frames', 'nested', 'patchwise')

if __name__ == '__main__':
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('--seed', type=int, default=0); p.add_argument('--out', default='runs/assets')
    p.add_argument('--only', nargs='+', choices=NAMES, default=NAMES)
    a = p.parse_args()
    real, labels = collect(ShapeWorld(HELD_OUT, split='val'), HELD_OUT)
    for name in a.only: globals()[name](a.seed, real, labels, Path(a.out))
