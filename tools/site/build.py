"""Build the site: pages with their outputs, API pages, and a token slider without a kernel.

    python tools/site/build.py [OUT]     OUT: a new folder or an older site (default _site)

Work files go to runs/site."""

import argparse
import ast
import base64
import inspect
import json
import re
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path
import imageio.v3 as iio
import larp_edu
import torch
from larp_edu.clips import to_uint8
from larp_edu.files import asset
from larp_edu.metrics import psnr
from larp_edu.nested import NestedTokenizer
from larp_edu.widgets import example_clips
from conf import comment_of, names_of

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
MARK = 'made-by-larp-edu.txt'  # a folder that has this file may be replaced
PROJECT = ('CONTRIBUTING', 'CHANGELOG')  # pages of the repository that are shown as they are
SHOWN = (0, 4, 8)  # classes on the slider page
PANELS = {  # name of a panel, whose picture lies in images/panels -> what it shows
    'count': 'A token slider; below it a clip, its reconstruction from so many tokens, the error.',
    'token': 'Sliders for a token and its new code; below them two rows of four films: a holistic '
    'and a patchwise tokenizer, each with the decoded clip, where the token looks, the clip with '
    'the new code, and the change.',
    'temperature': 'Sliders for temperature and seed; below them the clip decoded from the nearest '
    'codes, from two draws, and the spread of sixteen draws.',
    'surprise': 'A slider for the shuffled order; below it bars of the surprise at each token, in '
    'order and shuffled.',
    'generation': 'Sliders for seed, guidance, temperature, two filters and the tokens so far; '
    'below them the clip generated so far and the finished one.',
    'mix': 'Two menus of clips and a slider; below them the first clip, the mix and the second.',
}
WIDGET = re.compile(r'^(display\()?(VBox|Panel|\w+_panel)\(|^player$|^display\(panel\)', re.M)
HOW = '[Here is how to run a page](../index.ipynb#two-commands)'
PARTS = (  # the first digit of a page says its part
    '0 Start here',
    '1 The tokenizer',
    '2 The generator',
    '3 Look closer',
    '4 At full scale',
)


# ---- the slider


@torch.no_grad()
def sprite_sheet(tok, clip):
    """Sprite sheet of a clip, uint8 (rows, columns, 3), and the PSNR of each number of tokens.

    Row 0 has the frames of the clip, row k those of its reconstruction from k tokens."""
    indices = tok.encode(clip.video)
    recons = [tok.decode(indices[:, :k]) for k in range(1, tok.config.n_tokens + 1)]
    rows = [torch.cat(list(to_uint8(x[0])), 1) for x in (clip.video, *recons)]
    return torch.cat(rows).numpy(), [round(psnr(r, clip.video).item(), 2) for r in recons]


def slider_clip(tok, clip):
    pixels, db = sprite_sheet(tok, clip)
    webp = iio.imwrite('<bytes>', pixels, extension='.webp', plugin='pillow', quality=80)
    sheet = 'data:image/webp;base64,' + base64.b64encode(webp).decode()
    return dict(name=clip.name, psnr=db, sheet=sheet)


def slider_html(tok):
    "The slider, pictures included."
    clips = example_clips(tok.config)
    data = dict(
        size=tok.config.size,
        frames=tok.config.frames,
        bits=(tok.config.codes - 1).bit_length(),
        clips=[slider_clip(tok, clips[c]) for c in SHOWN],
    )
    return (HERE / 'slider.html').read_text().replace('DATA', json.dumps(data))


def slider_page():
    tok = NestedTokenizer.load(asset('any_count.safetensors'))
    return f"""# A clip in 1 to {tok.config.n_tokens} tokens

Move the slider: a clip of moving shapes, decoded from its first tokens. Each token is one of
{tok.config.codes} codes; the tokenizer is the one of the page [nested](nbs/30_nested.ipynb). All is
computed beforehand; [explore](nbs/32_explore.ipynb) has the same with a kernel behind it, for your
own clips.

```{{raw}} html
{slider_html(tok)}
```
"""


# ---- the package


def modules():
    "The modules in the order of their pages."
    names = [path.stem[3:] for path in notebooks()]
    return [name for name in names if (ROOT / f'larp_edu/{name}.py').exists()]


def first_line(name):
    "What a name of the front door is, in a line, and the module that it comes from."
    value = getattr(larp_edu, name)
    module = next(m for m in modules() if name in import_module(f'larp_edu.{m}').__all__)
    is_constant = not callable(value)
    text = comment_of(module, name) if is_constant else value.__doc__.splitlines()[0]
    return module, text


def names_page():
    "The front door: what `from larp_edu import ...` gives."
    rows = [(*first_line(name), name) for name in larp_edu.__all__]
    rows.sort(key=lambda row: (modules().index(row[0]), row[2]))
    lines = [
        f'| {{py:obj}}`{name} <larp_edu.{module}.{name}>` | {text} | [{module}](api/{module}.md) |'
        for module, text, name in rows
    ]
    head = [
        '# Names',
        '',
        'What `from larp_edu import ...` gives; `import larp_edu` itself loads nothing.',
        'Everything else is imported from its [module](api/index.md).',
        '',
        '| name | what it is | module |',
        '|---|---|---|',
    ]
    return '\n'.join([*head, *lines, ''])


def api_index():
    listed = '\n'.join(modules())
    return f"""# Modules

Made from the docstrings, in the order of the pages that build them.

```{{toctree}}
{listed}
```
"""


def in_order(module):
    "The exported names of a module, in the order in which it defines them."
    tree = ast.parse((ROOT / f'larp_edu/{module}.py').read_text(encoding='utf-8'))
    defined = [name for node in tree.body for name in names_of(node)]
    return sorted(import_module(f'larp_edu.{module}').__all__, key=defined.index)


def api_entry(module, name):
    "The order to Sphinx to document a name."
    value = getattr(import_module(f'larp_edu.{module}'), name)
    if inspect.isclass(value):
        kind, options = 'autoclass', ['   :members:', '   :show-inheritance:']
    elif inspect.isfunction(value) or hasattr(value, '__wrapped__'):
        kind, options = 'autofunction', []
    else:  # a constant: its comment says what it is
        kind, options = 'autodata', ['   :no-value:']
    return '\n'.join([f'.. {kind}:: larp_edu.{module}.{name}', *options, ''])


def api_page(module):
    entries = '\n'.join(api_entry(module, name) for name in in_order(module))
    about = import_module(f'larp_edu.{module}').__doc__
    return f'# larp_edu.{module}\n\n{about}\n\n```{{eval-rst}}\n{entries}\n```\n'


# ---- the whole


def notebooks():
    return sorted((ROOT / 'nbs').glob('[0-9]*.ipynb'))


def toctree(caption, pages):
    listed = '\n'.join(pages)
    return f'```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{listed}\n```\n'


def without_badges(text):
    "Prose without pictures of other servers: the states of tests and site, on the front page."
    lines = text.splitlines(keepends=True)
    return ''.join(line for line in lines if 'badge.svg' not in line)


def still(cell):
    "What stands below a cell that shows a widget, which needs a kernel; None for other cells."
    code = ''.join(cell['source'])
    if cell['cell_type'] != 'code' or '#| export' in code or not WIDGET.search(code):
        return None
    found = re.search(r'(\w+)_panel\(', code)
    if found and found[1] in PANELS:
        picture = f'![{PANELS[found[1]]}](../images/panels/{found[1]}.png)'
        text = f'This is a picture of the panel. Its sliders work where a kernel runs. {HOW}.'
        text = f'{picture}\n\n{text}'
    else:
        text = f'The control of this cell needs a kernel; the picture above stands still. {HOW}.'
    return dict(cell_type='markdown', id=f'{cell["id"]}-still', metadata={}, source=text)


def copy_page(path, folder):
    """A page as the site shows it: without the code that only Colab needs; folded code is folded.

    Below a panel, whose cell would be empty, stands a picture of it."""
    nb = json.loads(path.read_text(encoding='utf-8'))
    cells = [cell for cell in nb['cells'] if cell.get('id') != 'colab']
    nb['cells'] = [shown for cell in cells for shown in (cell, still(cell)) if shown]
    for cell in nb['cells']:
        if cell['metadata'].get('jupyter', {}).get('source_hidden'):
            cell['metadata']['tags'] = ['hide-input']
    (folder / path.name).write_text(json.dumps(nb), encoding='utf-8')


def write_index(path):
    "The index with the tree of all pages: a slider, five parts, the package."
    trees = [toctree('Play', ['slider'])]
    for digit, caption in enumerate(PARTS):
        pages = [f'nbs/{p.stem}' for p in notebooks() if p.name.startswith(str(digit))]
        trees.append(toctree(caption, pages))
    trees.append(toctree('Package', ['names', 'api/index']))
    trees.append(toctree('Project', PROJECT))
    index = json.loads((ROOT / 'index.ipynb').read_text(encoding='utf-8'))
    for cell in index['cells']:
        if cell['cell_type'] == 'markdown':
            cell['source'] = without_badges(''.join(cell['source']))
    cell = dict(cell_type='markdown', id='toctree', metadata={}, source='\n'.join(trees))
    index['cells'].append(cell)
    path.write_text(json.dumps(index), encoding='utf-8')


def write_sources(folder):
    "Write all that Sphinx reads."
    (folder / 'api').mkdir(parents=True)
    (folder / 'nbs').mkdir()
    shutil.copy(HERE / 'conf.py', folder)
    shutil.copytree(ROOT / 'images', folder / 'images')
    for name in PROJECT:
        shutil.copy(ROOT / f'{name}.md', folder)
    for path in notebooks():
        copy_page(path, folder / 'nbs')
    write_index(folder / 'index.ipynb')
    texts = {'slider': slider_page(), 'names': names_page(), 'api/index': api_index()}
    texts |= {f'api/{module}': api_page(module) for module in modules()}
    for name, text in texts.items():
        (folder / f'{name}.md').write_text(text, encoding='utf-8')


def run_sphinx(work):
    "Build work/html from work/src; a warning is an error."
    options = ['-q', '-W', '--keep-going', '-d', work / 'doctrees']
    command = [sys.executable, '-m', 'sphinx', *options, work / 'src', work / 'html']
    subprocess.run(command, check=True)


def main(out):
    if out.exists() and not (out / MARK).exists() or (out / '.git').exists():
        sys.exit(f'{out} is there and not an older site, expected a new folder')
    work = ROOT / 'runs/site'
    shutil.rmtree(work, ignore_errors=True)
    write_sources(work / 'src')
    run_sphinx(work)
    (work / 'html' / MARK).write_text('`make site` replaces this folder.\n')
    if out.exists():
        shutil.rmtree(out)
    shutil.copytree(work / 'html', out)
    size = sum(p.stat().st_size for p in out.rglob('*') if p.is_file()) / 1e6
    slider = (out / 'slider.html').stat().st_size / 1e3
    print(f'{out}/index.html: {size:.1f} MB in all, slider page {slider:.0f} kB')


if __name__ == '__main__':
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('out', nargs='?', type=Path, default=ROOT / '_site')
    main(parser.parse_args().out.resolve())
