"""Run the notebooks and keep their outputs true.

    python tools/notebooks.py run [14 ...] [--flags 'slow cuda']   run all, or those whose names
                                                                   start so, and clean them
    python tools/notebooks.py check                                what is wrong with the outputs

`run` stores in the notebook's metadata, under `larp_edu`, a hash of all the code that made its
outputs (tools/freshness.py), and the run time in seconds. `check`
computes the hash again: if it differs, the outputs are stale.
"""

import argparse
import base64
import configparser
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
import freshness

ROOT = Path(__file__).resolve().parents[1]
CAP = 1_000_000  # bytes a notebook
TIMEOUT = 900  # seconds a notebook


def notebooks():
    return sorted((ROOT / 'nbs').glob('[!_.]*.ipynb'))


def read(path):
    return json.loads(path.read_text(encoding='utf-8'))


def source(cell):
    return ''.join(cell['source'])


# ---- which cells run


def directives(text):
    "The `#| name: value` lines that open a cell, as a dict; `#|   more` goes on with a value."
    found, name = {}, None
    for line in text.splitlines():
        more = re.match(r'#\|   +(.*)', line)
        m = re.match(r'\s*#\s*\|\s*([\w-]+)\s*:?\s*(.*)', line)
        if more and name:
            found[name] += ' ' + more[1].strip()
        elif m:
            name = m[1]
            found[name] = m[2].strip()
        elif line.strip() and not line.lstrip().startswith('%%'):
            break
    return found


def skipped(nb, flags=''):
    "Numbers of the code cells that do not run, as under nbdev_test."
    cfg = configparser.ConfigParser(delimiters=['='])
    cfg.read(ROOT / 'settings.ini', encoding='utf-8')
    skip = set(cfg['DEFAULT']['tst_flags'].split()) - set(flags.split())
    off = any(
        c['cell_type'] == 'raw' and re.search(r'^skip_exec:\s*true', source(c), re.M)
        for c in nb['cells']
    )

    def is_off(c):
        d = directives(source(c))
        return (
            off
            or skip & d.keys()
            or d.get('eval', '').lower() == 'false'
            or 'nbdev_export(' in source(c)
        )

    return {i for i, c in enumerate(nb['cells']) if c['cell_type'] == 'code' and is_off(c)}


# ---- the hash


def code_hash(nb):
    "Hash of the cells that run and of all that they reach, see tools/freshness.py."
    off = skipped(nb)
    code = (i for i, c in enumerate(nb['cells']) if c['cell_type'] == 'code' and i not in off)
    return freshness.page_hash(ROOT, nb, [source(nb['cells'][i]) for i in code])


def cell_hash(text):
    "Hash of one cell that a plain run skips."
    return freshness.digest(freshness.normal_cell(text))


# ---- run


def run(path, flags=''):
    "Run a notebook in a process of its own, in nbs/, and write it back; return the seconds."
    import nbformat
    from nbclient import NotebookClient

    nb = nbformat.read(path, 4)
    old, off = nb.metadata.get('larp_edu', {}).get('kept', {}), skipped(nb, flags)
    kept = {}  # id of a flagged cell -> hash of its code when it last ran, which may be long ago
    for i in skipped(nb):
        c = nb.cells[i]
        fresh = i not in off or c.execution_count or c.id not in old
        kept[c.id] = cell_hash(c.source) if fresh else old[c.id]
    for i in off:
        nb.cells[i].metadata.tags = ['skip-execution']
    start = time.time()
    NotebookClient(
        nb,
        kernel_name='python3',
        resources={'metadata': {'path': str(path.parent)}},
        coalesce_streams=True,
        store_widget_state=False,
        record_timing=False,
        extra_arguments=['--log-level=ERROR'],
        timeout_func=lambda _: max(1, int(start + TIMEOUT - time.time())),
    ).execute()
    seconds = round(time.time() - start, 1)
    for c in nb.cells:
        if c.cell_type == 'code':
            c.outputs = [o for o in c.outputs if tidy(o, directives(c.source).get('fig-alt'))]
    kept = {c.id: kept[c.id] for c in nb.cells if c.id in kept and c.outputs}
    nb.metadata.pop('widgets', None)
    nb.metadata.kernelspec = {'name': 'python3', 'display_name': 'python3', 'language': 'python'}
    nb.metadata.larp_edu = {
        'hash': code_hash(nb),
        'seconds': seconds,
        **({'kept': kept} if kept else {}),
    }
    nbformat.write(nb, path)
    nbdev('nbdev_clean', '--fname', str(path))
    return seconds


BAR = re.compile(r'\d+%\||\d+(it|s/it|it/s)?\s*\[\d\d:\d\d')  # a line of tqdm


def tidy(output, alt=None):
    "Clean an output in place: no progress bars, no paths, alt text; False if nothing is left."
    data = output.get('data', {})
    if any('widget' in mime for mime in data):
        return False
    if 'text' in output:
        lines = [
            l.split('\r')[-1]
            for l in re.sub(r'\x1b\[A', '', output['text']).replace('\r\n', '\n').split('\n')
        ]
        if output['name'] == 'stderr':
            lines = [l for l in lines if not BAR.search(l)]
        output['text'] = anonymous('\n'.join(lines))
        return bool(output['text'].strip())
    for mime in data:
        if mime.startswith('text/'):
            data[mime] = anonymous(data[mime])
    if 'image/png' in data:
        data['image/png'] = smaller(data['image/png'])
        if alt:
            output['metadata'].setdefault('image/png', {})['alt'] = alt
    return True


ERROR = 1.0  # root mean square, of 255 levels


def smaller(png):
    "A picture (base64) in 256 colours where nobody sees the difference, else as small as it gets."
    import numpy as np
    from PIL import Image

    whole = Image.open(io.BytesIO(base64.b64decode(png))).convert('RGB')
    few = whole.quantize(256, method=Image.Quantize.MEDIANCUT, kmeans=2, dither=0)
    difference = np.asarray(few.convert('RGB'), float) - np.asarray(whole, float)
    good = [whole, few] if np.square(difference).mean() <= ERROR**2 else [whole]
    files = [io.BytesIO() for _ in good]
    for picture, file in zip(good, files):
        picture.save(file, 'PNG', optimize=True)
    return base64.b64encode(min((f.getvalue() for f in files), key=len)).decode()


def anonymous(text):
    "`text` without the folders of this machine."
    for folder, name in (
        (f'{ROOT}/', ''),
        (str(ROOT), '.'),
        (sys.prefix, 'python'),
        (f'{Path.home()}/', '~/'),
    ):
        text = text.replace(folder, name)
    return re.sub(re.escape(tempfile.gettempdir()) + r'/tmp\w+', 'FOLDER', text)


def nbdev(command, *args):
    "Run one of nbdev's commands from the environment of this script."
    env = {
        k: v for k, v in os.environ.items() if k != 'IN_TEST'
    }  # nbdev_export does nothing when IN_TEST is set
    subprocess.run([Path(sys.executable).with_name(command), *args], cwd=ROOT, env=env, check=True)


def run_all(starts, flags):
    todo = [p for p in notebooks() if not starts or any(p.name.startswith(s) for s in starts)]
    if not todo:
        sys.exit(f'no notebook in nbs/ starts with {" or ".join(starts) or "anything"}')
    os.environ.pop('IN_TEST', None)
    os.environ.update(PYTHONPATH=str(ROOT), PYDEVD_DISABLE_FILE_VALIDATION='1')
    nbdev('nbdev_export')
    for p in todo:
        print(f'{p.stem:20}', end='', flush=True)
        try:
            print(f'{run(p, flags):7.1f} s')
        except Exception as e:
            sys.exit(f' FAILED, not saved\n{e}')
        for problem in problems(p):
            print(f'  {problem}')


# ---- check


def problems(path):
    "What is wrong with the outputs of a notebook, a line each."
    nb, bad = read(path), []
    ours, off = nb['metadata'].get('larp_edu', {}), skipped(nb)
    if 'hash' not in ours:
        bad.append('never run by `make notebooks`')
    elif ours['hash'] != code_hash(nb):
        bad.append('stale output: the code changed after it ran')
    if 'widgets' in nb['metadata']:
        bad.append('widget state in the metadata')
    if (size := path.stat().st_size) > CAP:
        bad.append(f'{size / 1e6:.1f} MB, more than {CAP / 1e6:.0f} MB')
    for i, c in enumerate(nb['cells'], 1):
        say = lambda text: bad.append(f'cell {i}: {text}')
        if c['cell_type'] == 'markdown':
            for alt, link in re.findall(r'!\[(.*?)\]\(([^)\s]+)', source(c)):
                if not alt.strip():
                    say(f'picture {link} without alt text')
                if ':' not in link and not (path.resolve().parent / link).exists():
                    say(f'no picture {link}')
            if any('alt=' not in tag for tag in re.findall('<img[^>]*>', source(c))):
                say('<img> without alt text')
        outputs = c.get('outputs', [])
        if (
            outputs
            and i - 1 in off
            and ours.get('kept', {}).get(c.get('id')) != cell_hash(source(c))
        ):
            say('stale output: this cell, which a plain run skips, changed after it ran')
        for o in outputs:
            data = o.get('data', {})
            if o['output_type'] == 'error':
                say(f'error output: {o["ename"]}')
            if o.get('name') == 'stderr':
                say('output on stderr: ' + ''.join(o['text']).strip().splitlines()[-1][:80])
            if any('widget' in mime for mime in data):
                say('widget output')
            for mime in data:
                if mime.startswith(('image/', 'video/')) and mime != 'image/png':
                    say(f'{mime} output, use PNG')
            if 'image/png' in data:
                told = o.get('metadata', {}).get('image/png', {})
                if not told.get('alt'):
                    say('figure without alt text: start the cell with `#| fig-alt: what it shows`')
                elif told['alt'] != directives(source(c)).get('fig-alt', told['alt']):
                    say('figure with an old alt text: run the page')
                elif not told.get('width'):
                    say("figure without a width: set_matplotlib_formats('retina') gives it one")
    return bad


def check():
    "Print a table of all notebooks and then the problems; return how many there are."
    bad = [f'{p.name}: {problem}' for p in notebooks() for problem in problems(p)]
    print(f'{"notebook":20}{"seconds":>9}{"kB":>7}{"figures":>9}')
    for p in notebooks():
        nb = read(p)
        figures = sum(
            'image/png' in o.get('data', {}) for c in nb['cells'] for o in c.get('outputs', [])
        )
        seconds = nb['metadata'].get('larp_edu', {}).get('seconds', '-')
        print(f'{p.stem:20}{seconds:>9}{p.stat().st_size / 1000:7.0f}{figures:9}')
    print(*bad, f'{len(bad)} problems in {len(notebooks())} notebooks', sep='\n')
    return len(bad)


if __name__ == '__main__':
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('command', choices=['run', 'check'])
    parser.add_argument('starts', nargs='*', help='05 means nbs/05_*.ipynb')
    parser.add_argument(
        '--flags', default='', help="also run cells with these flags, such as 'slow cuda'"
    )
    args = parser.parse_args()
    if args.command == 'run':
        run_all(args.starts, args.flags)
    else:
        sys.exit(check() > 0)
