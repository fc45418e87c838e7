"""Retrain the small weights in larp_edu/assets: judge, tokenizer, generator, frame predictor; hours on a CPU, resumed when killed.

python tools/assets.py [--seed 0] [--out runs/assets] [--only NAME ...]   NAME: shapenet, pair, frames"""
import argparse, json
from dataclasses import asdict, replace
from pathlib import Path
import torch
from larp_edu.data import ShapeWorld
from larp_edu.demo import HELD_OUT, SHIPPED, collect, measure, recognised, train_pair
from larp_edu.fvd import ShapeNet, train_shapenet
from larp_edu.io import hardware
from larp_edu.sampling import hold, train_frames
from larp_edu.tokenizer import LARPTokenizer, asset, save_model
from larp_edu.video import write_bytes

def ship(name, model, **card):
    "Weights as fp16, with a card inside the file and beside it."
    card = dict(card, command='make assets', hardware=hardware())
    save_model(asset(f'{name}.safetensors'), model, half=True, **card)
    write_bytes(asset(f'{name}.json'), (json.dumps(card, indent=1) + '\n').encode())

def shapenet(seed, real, labels, folder):
    net = train_shapenet(steps=1000, seed=seed)
    ship('shapenet', net, recipe='larp_edu.fvd.train_shapenet', steps=1000, batch=64, seed=seed, accuracy=recognised(net, real, labels), clips=len(real))

def pair(seed, real, labels, folder):
    tok, gen, _ = train_pair(SHIPPED, ShapeWorld(1_000_000, seed=seed), real, 9, folder, seed)
    tok.prior, tok.config = None, replace(tok.config, prior_depth=0)
    for model in (tok, gen): model.half().float()                                 # measured as they ship, rounded to fp16
    m = measure(tok, gen, ShapeNet.load(asset('shapenet.safetensors')), real, labels, seed=seed)[0]
    recipe = {k: v for k, v in asdict(SHIPPED).items() if k != 'tokenizer'}
    for name, model in (('tokenizer', tok), ('generator', gen)): ship(name, model, recipe=recipe, seed=seed, measured=m)

@torch.no_grad()
def nll(model, tok, real, given=4): return model.loss(tok.encode(real), tok.encode(hold(real, given))).item()

def frames(seed, real, labels, folder):
    tok = LARPTokenizer.load(asset('tokenizer.safetensors'))
    model = train_frames(tok, seed=seed)
    ship('frames', model, recipe='larp_edu.sampling.train_frames', steps=1500, seed=seed, nll=nll(model, tok, real), clips=len(real))

if __name__ == '__main__':
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('--seed', type=int, default=0); p.add_argument('--out', default='runs/assets')
    p.add_argument('--only', nargs='+', choices=('shapenet', 'pair', 'frames'), default=('shapenet', 'pair', 'frames'))
    a = p.parse_args()
    real, labels = collect(ShapeWorld(HELD_OUT, split='val'), HELD_OUT)
    for name in a.only: globals()[name](a.seed, real, labels, Path(a.out))
