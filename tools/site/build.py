"""Build the site: the notebooks with their outputs, API pages from the docstrings, and a token slider that works without a kernel.

python tools/site/build.py [OUT]      OUT: _site by default, a new folder or an older site; work files go to runs/site"""

import argparse, base64, json, shutil, subprocess, sys
from pathlib import Path
import imageio.v3 as iio, torch
from larp_edu.metrics import psnr
from larp_edu.nested import NestedTokenizer
from larp_edu.widgets import example_clips
from larp_edu.files import asset
from larp_edu.clips import to_uint8

ROOT, HERE = Path(__file__).resolve().parents[2], Path(__file__).resolve().parent
SHOWN = (0, 4, 8)  # classes on the slider page


@torch.no_grad()
def sheet(tok, clip):
    "Sprite sheet of a clip, uint8 (rows, columns, 3): row 0 its frames, row k those of its reconstruction from k tokens; and the PSNR of each k."
    indices = tok.encode(clip.video)
    recons = [tok.decode(indices[:, :k]) for k in range(1, tok.config.n_tokens + 1)]
    rows = [torch.cat(list(to_uint8(x[0])), 1) for x in (clip.video, *recons)]
    return torch.cat(rows).numpy(), [round(psnr(r, clip.video).item(), 2) for r in recons]


def slider(tok):
    "The slider page's HTML, pictures included."
    clips = []
    for clip in (example_clips(tok.config)[c] for c in SHOWN):
        pixels, db = sheet(tok, clip)
        webp = iio.imwrite('<bytes>', pixels, extension='.webp', plugin='pillow', quality=80)
        clips.append(
            dict(
                name=clip.name,
                psnr=db,
                sheet='data:image/webp;base64,' + base64.b64encode(webp).decode(),
            )
        )
    data = dict(
        size=tok.config.size,
        frames=tok.config.frames,
        bits=(tok.config.codes - 1).bit_length(),
        clips=clips,
    )
    return (HERE / 'slider.html').read_text().replace('DATA', json.dumps(data))


def tree(caption, pages):
    return '```{toctree}\n:hidden:\n:caption: ' + caption + '\n\n' + '\n'.join(pages) + '\n```\n'


def pages(src):
    "Write all that Sphinx reads into the folder `src`."
    (src / 'api').mkdir(parents=True)
    (src / 'nbs').mkdir()
    shutil.copy(HERE / 'conf.py', src)
    shutil.copytree(ROOT / 'images', src / 'images')
    notebooks = sorted((ROOT / 'nbs').glob('[0-9]*.ipynb'))
    modules = sorted(p.stem for p in (ROOT / 'larp_edu').glob('[a-z]*.py'))
    for p in notebooks:
        shutil.copy(p, src / 'nbs')
    index = json.loads((ROOT / 'index.ipynb').read_text(encoding='utf-8'))
    trees = (
        tree('Play', ['slider'])
        + tree('Notebooks', [f'nbs/{p.stem}' for p in notebooks])
        + tree('Package', ['api/index'])
    )
    index['cells'].append(dict(cell_type='markdown', id='toctree', metadata={}, source=trees))
    (src / 'index.ipynb').write_text(json.dumps(index), encoding='utf-8')
    tok = NestedTokenizer.load(asset('any_count.safetensors'))
    (src / 'slider.md').write_text(
        f'# A clip in 1 to {tok.config.n_tokens} tokens\n\nMove the slider: a clip of moving shapes, decoded from its first tokens. '
        f'Each token is one of {tok.config.codes} codes; the tokenizer is the one of [page 30_nested](nbs/30_nested.ipynb). All is computed beforehand; '
        '[page 32_explore](nbs/32_explore.ipynb) has the same with a kernel behind it, for your own clips.\n\n```{raw} html\n'
        + slider(tok)
        + '\n```\n',
        encoding='utf-8',
    )
    (src / 'api/index.md').write_text(
        '# Modules\n\nMade from the docstrings. The notebook of the same name builds each.\n\n```{toctree}\n'
        + '\n'.join(modules)
        + '\n```\n',
        encoding='utf-8',
    )
    for m in modules:
        (src / f'api/{m}.md').write_text(
            f'# larp_edu.{m}\n\n```{{eval-rst}}\n.. automodule:: larp_edu.{m}\n```\n',
            encoding='utf-8',
        )


MARK = 'made-by-larp-edu.txt'


def main(out):
    if out.exists() and not (out / MARK).exists() or (out / '.git').exists():
        sys.exit(f'{out} is there and not an older site, expected a new folder')
    work = ROOT / 'runs/site'
    shutil.rmtree(work, ignore_errors=True)
    pages(work / 'src')
    subprocess.run(
        [
            sys.executable,
            '-m',
            'sphinx',
            '-q',
            '-W',
            '--keep-going',
            '-d',
            work / 'doctrees',
            work / 'src',
            work / 'html',
        ],
        check=True,
    )
    (work / 'html' / MARK).write_text('`make site` replaces this folder.\n')
    if out.exists():
        shutil.rmtree(out)
    shutil.copytree(work / 'html', out)
    size = sum(p.stat().st_size for p in out.rglob('*') if p.is_file())
    print(
        f'{out}/index.html: {size / 1e6:.1f} MB in all, slider page {(out / "slider.html").stat().st_size / 1e3:.0f} kB'
    )


if __name__ == '__main__':
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument('out', nargs='?', type=Path, default=ROOT / '_site')
    main(p.parse_args().out.resolve())
