"""Search for the demo's recipe with equal budgets and write results/demo-search.json.

    python tools/search_demo.py [--out runs/demo-search] [--jobs 2] [--only NAME ...]

First tokenizers, each trained for about as many processor seconds; then, on the tokens of `base`,
generators. Every training has one thread and a process of its own, `--jobs` of them side by side.
The seed is one that no demo is reported with. What the folder `--out` has is not trained again.
"""

import argparse
import json
import subprocess
import sys
import time
from dataclasses import asdict, replace
from multiprocessing.pool import ThreadPool
from pathlib import Path
import torch
from larp_edu.files import asset, save_model, write_json
from larp_edu.generator import tokenize
from larp_edu.judge import ShapeNet
from larp_edu.loading import in_order
from larp_edu.machine import provenance
from larp_edu.metrics import fvd, psnr
from larp_edu.shapeworld import ShapeWorld
from larp_edu.story import HELD_OUT, PairRecipe, clip_statistics, collect_clips
from larp_edu.story import fit_generator, fit_tokenizer, measure_pair, reconstruct
from larp_edu.tokenizer import LARPTokenizer

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / 'results/demo-search.json'
SEED = 100
BASE = PairRecipe(tokenizer_steps=2000, generator_steps=450, clips=16_000)
TOKENIZERS = {
    'base': BASE,
    'batch 16': replace(BASE, batch=16, tokenizer_steps=3200),
    'batch 24': replace(BASE, batch=24, tokenizer_steps=2500),
    'batch 48': replace(BASE, batch=48, tokenizer_steps=1400),
    'batch 64': replace(BASE, batch=64, tokenizer_steps=1050, warm_steps=400),
    'muon 0.015': replace(BASE, muon_lr=0.015),
    'muon 0.007': replace(BASE, muon_lr=0.007),
    'lr 0.005': replace(BASE, lr=0.005),
    'warm 300': replace(BASE, warm_steps=300),
    'warm 900': replace(BASE, warm_steps=900, tokenizer_steps=2100),
    'warm 1200': replace(BASE, warm_steps=1200, tokenizer_steps=2150),
}
GENERATORS = {
    'generator 128 x 450': BASE,
    'generator 64 x 850': replace(BASE, generator_batch=64, generator_steps=850),
    'generator 32 x 1500': replace(BASE, generator_batch=32, generator_steps=1500),
    'generator 128 x 900': replace(BASE, generator_steps=900),
}


def search_tokenizer(recipe: PairRecipe, folder: Path) -> dict[str, float]:
    "Train a tokenizer; processor seconds, PSNR and rFVD of held-out clips."
    real, _ = collect_clips(ShapeWorld(HELD_OUT, split='val'), HELD_OUT)
    start = time.process_time()
    trainer, _ = fit_tokenizer(recipe, ShapeWorld(1_000_000, seed=SEED), real, folder, SEED)
    seconds = time.process_time() - start
    save_model(folder / 'tokenizer.safetensors', trainer.result)
    trainer.result.eval()
    _, recon = reconstruct(trainer.result, real)
    net = ShapeNet.load(asset('shapenet.safetensors'))
    distance = fvd(clip_statistics(net, real), clip_statistics(net, recon))
    return dict(seconds=seconds, psnr=psnr(recon, real).mean().item(), rfvd=distance)


def search_generator(recipe: PairRecipe, folder: Path) -> dict[str, float]:
    "Train a generator on the tokens of `base`; processor seconds and its measures."
    real, labels = collect_clips(ShapeWorld(HELD_OUT, split='val'), HELD_OUT)
    tok = LARPTokenizer.load(folder.parent / 'base/tokenizer.safetensors').eval()
    clips = in_order(ShapeWorld(1_000_000, seed=SEED), 64, recipe.clips)
    tokens, classes = tokenize(tok, clips)
    start = time.process_time()
    trainer, _ = fit_generator(recipe, tokens, classes, 9, tok.config.codes, folder, SEED)
    seconds = time.process_time() - start
    net = ShapeNet.load(asset('shapenet.safetensors'))
    scores, *_ = measure_pair(tok, trainer.result, net, real, labels)
    keys = 'gfvd', 'generator_nll', 'samples_recognised'
    return dict(seconds=seconds) | {key: scores[key] for key in keys}


def work(name: str, folder: Path) -> None:
    "Train one arm and write its row beside its checkpoints."
    torch.set_num_threads(1)
    recipe = {**TOKENIZERS, **GENERATORS}[name]
    search = search_tokenizer if name in TOKENIZERS else search_generator
    row = dict(arm=name, **search(recipe, folder), recipe=asdict(recipe), seed=SEED, **provenance())
    write_json(folder / 'row.json', row)


def run_arm(name: str, out: Path) -> dict:
    "An arm in a process of its own, unless its row is there."
    folder = out / name.replace(',', '').replace(' ', '-')
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / 'row.json').exists():
        command = [sys.executable, __file__, '--work', name, '--out', str(folder)]
        with open(folder / 'log.txt', 'a') as log:
            subprocess.run(command, check=True, stdout=log, stderr=log)
    row = json.loads((folder / 'row.json').read_text())
    shown = {k: v for k, v in row.items() if isinstance(v, float)}
    print(name, ', '.join(f'{k} {v:.4g}' for k, v in shown.items()), flush=True)
    return row


def main():
    p = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    p.add_argument('--out', default=ROOT / 'runs/demo-search', type=Path)
    p.add_argument('--jobs', type=int, default=2)
    p.add_argument('--only', nargs='+', default=[*TOKENIZERS, *GENERATORS])
    p.add_argument('--work', help=argparse.SUPPRESS)
    a = p.parse_args()
    if a.work:
        return work(a.work, a.out)
    with ThreadPool(a.jobs) as pool:
        for arms in (TOKENIZERS, GENERATORS):
            names = [name for name in arms if name in a.only]
            pool.map(lambda name: run_arm(name, a.out), names, chunksize=1)
    rows = [json.loads(path.read_text()) for path in sorted(a.out.glob('*/row.json'))]
    write_json(RESULTS, rows)


if __name__ == '__main__':
    main()
