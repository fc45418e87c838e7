"""Put the badges and the cell for Colab into the pages of parts 0 to 3, and check them.

    python tools/badges.py [14 ...]     write them: all pages, or those whose names start so
    python tools/badges.py --check      what is missing or out of step

A page gets two cells after its title. The first has two badges: a link that opens the page in
Colab, and the page's time and hardware. The second is code that installs the package in Colab and
does nothing elsewhere. The words of the time badge are the first ones of the page's own line that
begins with **Time and hardware.**; "The page takes" is left out. The address of the repository
comes from settings.ini. The pictures are written to images/badges, so that no badge needs a
network.
"""

import argparse
import configparser
import json
import re
import sys
from html import escape
import notebooks

FOLDER = 'images/badges'
PLACES = dict(badges=1, colab=2)  # id of a cell -> where it stands in a page
LINE = re.compile(
    r'\*\*Time and hardware\.\*\* *(?:This page: *|The page takes +)?(.*?)[.;:](?:\s|$)', re.S
)

# The code in every page; GIT_URL is replaced. Outside of Colab it only looks.
COLAB = """#| notest
# In Colab only: fetch the repository, install it, and go to the folder of this page.
import os
import subprocess
import sys

if 'google.colab' in sys.modules:
    git_url, home = 'GIT_URL', '/content/larp_edu'
    if not os.path.exists(home):
        subprocess.run(['git', 'clone', '-q', '--depth=1', git_url, home], check=True)
    subprocess.run([sys.executable, '-m', 'pip', 'install', '-q', home], check=True)
    os.chdir(f'{home}/nbs')"""


def settings():
    "The section of settings.ini that says where the repository lives."
    parser = configparser.ConfigParser(delimiters=['='])
    parser.read(notebooks.ROOT / 'settings.ini', encoding='utf-8')
    return parser['DEFAULT']


def pages(starts=()):
    "The pages of parts 0 to 3, or those of them whose names start so."
    found = sorted((notebooks.ROOT / 'nbs').glob('[0-3][0-9]_*.ipynb'))
    return [path for path in found if not starts or path.name.startswith(tuple(starts))]


def time_and_hardware(nb):
    "The words of a page's time badge: its own line, up to the first full stop, colon or semicolon."
    for cell in nb['cells']:
        found = LINE.search(notebooks.source(cell)) if cell['cell_type'] == 'markdown' else None
        if found:
            words = ' '.join(found[1].split())
            return words[0].upper() + words[1:]
    return None


# ---- pictures


def badge_svg(label, text, colour):
    "A badge: a grey field with the label, a coloured one with the text, both white on dark."
    left, right = (round(6.6 * len(words)) + 12 for words in (label, text))
    alt, label, text = escape(f'{label}: {text}'), escape(label), escape(text)
    size = f'width="{left + right}" height="20"'
    return f"""<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">
<title>{alt}</title>
<clipPath id="r"><rect width="{left + right}" height="20" rx="3"/></clipPath>
<g clip-path="url(#r)">
<rect width="{left}" height="20" fill="#4a4f55"/>
<rect x="{left}" width="{right}" height="20" fill="{colour}"/>
</g>
<g fill="#fff" font-family="Verdana, DejaVu Sans, sans-serif" font-size="11">
<text x="6" y="14" textLength="{left - 12}">{label}</text>
<text x="{left + 6}" y="14" textLength="{right - 12}">{text}</text>
</g>
</svg>
"""


def pictures(texts):
    "{path: SVG} of all badges, from {page: time and hardware}."
    made = {
        f'{FOLDER}/colab.svg': badge_svg('open in', 'Colab', '#a34100'),
        f'{FOLDER}/licence.svg': badge_svg('licence', 'Apache 2.0', '#17672f'),
    }
    for stem, text in texts.items():
        made[f'{FOLDER}/{stem}.svg'] = badge_svg('time', text, '#0067a5')
    return made


# ---- cells


def badge_text(stem, text):
    "The line of badges of a page."
    where = settings()
    place = f'{where["user"]}/{where["repo"]}/blob/{where["branch"]}/nbs/{stem}.ipynb'
    return (
        f'[![Open in Colab](../{FOLDER}/colab.svg)]'
        f'(https://colab.research.google.com/github/{place}) '
        f'![Time and hardware: {text}](../{FOLDER}/{stem}.svg)'
    )


def wanted(stem, text):
    "The two cells of a page, by their ids."
    prose = dict(cell_type='markdown', id='badges', metadata={}, source=badge_text(stem, text))
    code = dict(cell_type='code', id='colab', metadata={}, execution_count=None, outputs=[])
    code['source'] = COLAB.replace('GIT_URL', settings()['git_url'])
    cells = dict(badges=prose, colab=code)
    for cell in cells.values():
        cell['source'] = cell['source'].splitlines(keepends=True)
    return cells


def with_cells(nb, cells):
    "The notebook with these cells in their places; those that were there are replaced."
    rest = [cell for cell in nb['cells'] if cell.get('id') not in PLACES]
    for name, place in PLACES.items():
        rest.insert(place, cells[name])
    return nb | dict(cells=rest)


# ---- write and check


def texts(starts=()):
    "{page: time and hardware} of all pages that have that line."
    found = {path.stem: time_and_hardware(notebooks.read(path)) for path in pages(starts)}
    return {stem: text for stem, text in found.items() if text}


def write(starts=()):
    "Put badges into pages, and write all pictures; return the names of the files that changed."
    files = {notebooks.ROOT / name: svg for name, svg in pictures(texts()).items()}
    for stem, text in texts(starts).items():
        path = notebooks.ROOT / f'nbs/{stem}.ipynb'
        nb = with_cells(notebooks.read(path), wanted(stem, text))
        files[path] = json.dumps(nb, indent=1, ensure_ascii=False, sort_keys=True) + '\n'
    changed = []
    for path, content in files.items():
        if not path.exists() or path.read_text(encoding='utf-8') != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding='utf-8')
            changed.append(str(path.relative_to(notebooks.ROOT)))
    return changed


def page_problems(path):
    "What is wrong with the badges of a page."
    nb = notebooks.read(path)
    text = time_and_hardware(nb)
    if text is None:
        return ['no line that begins with **Time and hardware.**']
    bad = []
    for name, cell in wanted(path.stem, text).items():
        place = PLACES[name]
        found = nb['cells'][place] if len(nb['cells']) > place else {}
        if found.get('id') != name:
            bad.append(f'cell {place + 1} is not the cell {name}')
        elif notebooks.source(found) != notebooks.source(cell):
            bad.append(f'the cell {name} is out of step')
    return bad


def problems():
    "What is missing or out of step in pages and pictures; `python tools/badges.py` mends it."
    bad = [f'{path.name}: {problem}' for path in pages() for problem in page_problems(path)]
    made = pictures(texts())
    for name, svg in made.items():
        path = notebooks.ROOT / name
        if not path.exists() or path.read_text(encoding='utf-8') != svg:
            bad.append(f'{name}: out of step')
    there = (notebooks.ROOT / FOLDER).glob('*.svg')
    extra = (f'{FOLDER}/{path.name}' for path in there)
    return bad + [f'{name}: of no page' for name in sorted(extra) if name not in made]


if __name__ == '__main__':
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('starts', nargs='*', help='05 means nbs/05_*.ipynb')
    parser.add_argument('--check', action='store_true', help='change nothing')
    args = parser.parse_args()
    if args.check:
        bad = problems()
        print(*bad, f'{len(bad)} problems', sep='\n')
        sys.exit(bool(bad))
    print('wrote', ', '.join(write(args.starts)) or 'nothing: all is in step')
