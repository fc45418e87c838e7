"""Compare a tokenizer trained for any number of tokens with tokenizers of fixed numbers: PSNR, FVD and generators, to results/nested-cost.json.

python tools/nested.py [--seeds 0 1] [--fixed 8 16 32 64]     an hour a seed on one core; a killed run goes on where it stopped, results of other runs are kept"""

import argparse, json, math, sys
from dataclasses import asdict, replace
from pathlib import Path
import torch
from larp_edu.shapeworld import ShapeWorld
from larp_edu.metrics import psnr
from larp_edu.story import (
    GUIDANCE,
    HELD_OUT,
    PER_CLASS,
    PairRecipe,
    clip_statistics,
    collect_clips,
    fit_pair,
    recognised_share,
)
from larp_edu.explore import token_surprise
from larp_edu.metrics import fvd
from larp_edu.judge import ShapeNet
from larp_edu.machine import provenance
from larp_edu.nested import NestedTokenizer
from larp_edu.sampling import generate
from larp_edu.files import asset
from larp_edu.tokenizer import LARPTokenizer, tokenizer_presets
from larp_edu.files import write_bytes

ROOT = Path(__file__).resolve().parents[1]
RECIPE, FIXED, COUNTS = (
    PairRecipe(2000, 500, 8000, batch=16, generator_batch=32),
    (8, 16, 32, 64),
    (1, 2, 4, 8, 16, 32, 64),
)


@torch.no_grad()
def nats(gen, tokens, labels):
    "Mean cross-entropy of each token of a row, in nats: (n,)."
    return torch.cat(
        [token_surprise(gen, t, y) for t, y in zip(tokens.split(64), labels.split(64))]
    ).mean(0) * math.log(2)


@torch.no_grad()
def measure(tok, gen, counts, net, real, labels, seed):
    "A row for each number of tokens: reconstruction, and generation that stops there."
    gen.eval()
    ref, tokens, classes = (
        clip_statistics(net, real),
        torch.cat([tok.encode(x) for x in real.split(64)]),
        torch.arange(9).repeat(PER_CLASS),
    )
    drawn, token_surprise, rows = (
        generate(gen, classes, guidance_scale=GUIDANCE, seed=seed),
        nats(gen, tokens, labels),
        [],
    )
    for k in counts:
        recon, samples = (
            torch.cat([tok.decode(t[:, :k]) for t in x.split(64)]) for x in (tokens, drawn)
        )
        rows.append(
            dict(
                k=k,
                psnr=psnr(recon, real).mean().item(),
                rfvd=fvd(ref, clip_statistics(net, recon)),
                gfvd=fvd(ref, clip_statistics(net, samples)),
                nats_per_clip=token_surprise[:k].sum().item(),
                recon_recognised=recognised_share(net, recon, labels),
                samples_recognised=recognised_share(net, samples, classes),
            )
        )
    return rows


if __name__ == '__main__':
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument('--seeds', type=int, nargs='+', default=[0, 1])
    p.add_argument(
        '--fixed', type=int, nargs='*', default=FIXED, help='numbers of tokens of the plain ones'
    )
    p.add_argument('--out', type=Path, default=ROOT / 'runs/nested')
    p.add_argument('--to', type=Path, default=ROOT / 'results/nested-cost.json')
    a = p.parse_args()
    (real, labels), net = (
        collect_clips(ShapeWorld(HELD_OUT, split='val'), HELD_OUT),
        ShapeNet.load(asset('shapenet.safetensors')),
    )
    recipe = {k: v for k, v in asdict(RECIPE).items() if k != 'tokenizer'}
    old = json.loads(a.to.read_text()) if a.to.exists() else {}
    if old and old['recipe'] != recipe:
        sys.exit(f'{a.to} holds results of another recipe, move it away first')
    result = dict(
        what=f'held-out PSNR (dB), toy FVD and nats of {HELD_OUT} clips against the number of tokens',
        commands=[*old.get('commands', []), ' '.join(['python tools/nested.py', *sys.argv[1:]])],
        recipe=recipe,
        guidance=GUIDANCE,
        **provenance(),
        nested=old.get('nested', []),
        fixed=old.get('fixed', []),
    )
    for seed in a.seeds:
        for kind, n, counts in (
            ('nested', max(COUNTS), COUNTS),
            *(('fixed', n, (n,)) for n in a.fixed),
        ):
            model = NestedTokenizer if kind == 'nested' else LARPTokenizer
            tok, gen, _ = fit_pair(
                replace(RECIPE, tokenizer=replace(tokenizer_presets['toy'], n_tokens=n)),
                ShapeWorld(1_000_000, seed=seed),
                real,
                9,
                a.out / f'{kind}{n}',
                seed,
                model,
            )
            rows = [
                dict(n=n, seed=seed, **row)
                for row in measure(tok, gen, counts, net, real, labels, seed)
            ]
            result[kind] = [r for r in result[kind] if (r['n'], r['seed']) != (n, seed)] + rows
            write_bytes(a.to, (json.dumps(result, indent=1) + '\n').encode())
            for row in rows:
                print(kind, {k: round(v, 3) for k, v in row.items()}, flush=True)
