"""Compare a tokenizer for any number of tokens with tokenizers of fixed numbers.

    python tools/nested.py [--seeds 0 1] [--kinds nested squared fixed] [--fixed 8 16 32 64]

Kinds: `nested` is trained with the loss in decibels, `squared` with squared errors, and `fixed`
are plain tokenizers. PSNR, FVD and generators go to results/nested-cost.json, a row with the commit
that made it. An hour a seed on one core; a killed run goes on where it stopped, results of other
runs are kept."""

import argparse
import json
import math
import sys
from dataclasses import asdict, replace
from pathlib import Path
import torch
from larp_edu.explore import token_surprise
from larp_edu.files import asset, write_json
from larp_edu.judge import ShapeNet
from larp_edu.machine import hardware, provenance
from larp_edu.metrics import fvd, psnr
from larp_edu.nested import DecibelLoss, NestedTokenizer
from larp_edu.objective import LossWeights, TokenizerLoss
from larp_edu.sampling import generate
from larp_edu.shapeworld import ShapeWorld
from larp_edu.story import GUIDANCE, HELD_OUT, PER_CLASS, PairRecipe
from larp_edu.story import clip_statistics, collect_clips, fit_pair, recognised_share
from larp_edu.tokenizer import LARPTokenizer, tokenizer_presets

ROOT = Path(__file__).resolve().parents[1]
RECIPE = PairRecipe(2000, 500, 8000, batch=16, generator_batch=32)
KINDS = 'nested', 'squared', 'fixed'
FIXED = (8, 16, 32, 64)  # numbers of tokens of the plain tokenizers
COUNTS = (1, 2, 4, 8, 16, 32, 64)  # at which the nested one is measured
WHAT = f'held-out PSNR (dB), toy FVD and nats of {HELD_OUT} clips against the number of tokens'


@torch.no_grad()
def token_nats(gen, tokens, labels):
    "Mean cross-entropy of each token of a row, in nats: (n,)."
    batches = zip(tokens.split(64), labels.split(64))
    bits = torch.cat([token_surprise(gen, *batch) for batch in batches])
    return bits.mean(0) * math.log(2)


@torch.no_grad()
def measure(tok, gen, counts, net, real, labels, seed):
    "A row for each number of tokens: reconstruction, and generation that stops there."
    gen.eval()
    reference = clip_statistics(net, real)
    tokens = torch.cat([tok.encode(clips) for clips in real.split(64)])
    classes = torch.arange(9).repeat(PER_CLASS)
    drawn = generate(gen, classes, guidance_scale=GUIDANCE, seed=seed)
    nats = token_nats(gen, tokens, labels)

    def decode(rows, k):
        return torch.cat([tok.decode(some[:, :k]) for some in rows.split(64)])

    rows = []
    for k in counts:
        recon, samples = decode(tokens, k), decode(drawn, k)
        row = dict(
            k=k,
            psnr=psnr(recon, real).mean().item(),
            rfvd=fvd(reference, clip_statistics(net, recon)),
            gfvd=fvd(reference, clip_statistics(net, samples)),
            nats_per_clip=nats[:k].sum().item(),
            recon_recognised=recognised_share(net, recon, labels),
            samples_recognised=recognised_share(net, samples, classes),
        )
        rows.append(row)
    return rows


def train(kind, n, seed, real, out):
    "A tokenizer of n tokens and its generator."
    recipe = replace(RECIPE, tokenizer=replace(tokenizer_presets['toy'], n_tokens=n))
    model = LARPTokenizer if kind == 'fixed' else NestedTokenizer
    warm = recipe.warm_steps / recipe.tokenizer_steps
    loss = TokenizerLoss(LossWeights(warm=warm))
    if kind == 'nested':
        loss = DecibelLoss(LossWeights(l2=0.05, warm=warm))
    world = ShapeWorld(1_000_000, seed=seed)
    return fit_pair(recipe, world, real, 9, out / f'{kind}{n}', seed, model, objective=loss)[:2]


def start_result(path):
    "What the file `path` will hold: the results that are there, of the same recipe only."
    recipe = {k: v for k, v in asdict(RECIPE).items() if k != 'tokenizer'}
    old = json.loads(path.read_text()) if path.exists() else {}
    if old and old['recipe'] != recipe:
        sys.exit(f'{path} holds results of another recipe, move it away first')
    return dict(
        what=WHAT,
        commands=[*old.get('commands', []), ' '.join(['python tools/nested.py', *sys.argv[1:]])],
        recipe=recipe,
        guidance=GUIDANCE,
        hardware=hardware(),
        **{kind: old.get(kind, []) for kind in KINDS},
    )


def main(seeds, kinds, fixed, out, to):
    real, labels = collect_clips(ShapeWorld(HELD_OUT, split='val'), HELD_OUT)
    net = ShapeNet.load(asset('shapenet.safetensors'))
    result = start_result(to)
    runs = [('nested', max(COUNTS), COUNTS), ('squared', max(COUNTS), COUNTS)]
    runs += [('fixed', n, (n,)) for n in fixed]
    made = {key: value for key, value in provenance().items() if key != 'hardware'}
    for seed in seeds:
        for kind, n, counts in [run for run in runs if run[0] in kinds]:
            pair = train(kind, n, seed, real, out)
            rows = measure(*pair, counts, net, real, labels, seed)
            kept = [row for row in result[kind] if (row['n'], row['seed']) != (n, seed)]
            result[kind] = kept + [dict(n=n, seed=seed, **row, **made) for row in rows]
            write_json(to, result)
            for row in rows:
                print(kind, n, seed, {k: round(v, 3) for k, v in row.items()}, flush=True)


if __name__ == '__main__':
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1])
    parser.add_argument('--kinds', nargs='+', choices=KINDS, default=KINDS)
    parser.add_argument('--fixed', type=int, nargs='*', default=FIXED)
    parser.add_argument('--out', type=Path, default=ROOT / 'runs/nested')
    parser.add_argument('--to', type=Path, default=ROOT / 'results/nested-cost.json')
    args = parser.parse_args()
    main(args.seeds, args.kinds, args.fixed, args.out, args.to)
