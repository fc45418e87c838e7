"""Write README.md from index.ipynb: its prose, code and stored outputs; nothing is run.

    python tools/readme.py [--check]     --check only compares

A cell that starts with `#| hide`, `#| include: false` or `#| export` is left out; `#| echo: false`
leaves out its code only.
"""

import re, shutil, sys
import nbformat
from nbconvert import MarkdownExporter
import notebooks
from notebooks import directives

HIDDEN = {'hide', 'export', 'exporti', 'exports', 'default_exp'}


def shown(cell):
    d = directives(cell.source)
    return cell.cell_type != 'raw' and not HIDDEN & d.keys() and d.get('include') != 'false'


def render():
    "The files to write, as a dict from name to bytes."
    nb = nbformat.read(notebooks.ROOT / 'index.ipynb', 4)
    nb.cells = [c for c in nb.cells if shown(c)]
    nb.metadata.language_info = {'name': 'python'}
    for c in nb.cells:
        if c.cell_type != 'code':
            continue
        if directives(c.source).get('echo') == 'false':
            c.metadata.transient = {'remove_source': True}
        c.source = re.sub(r'^(\s*#\s*\|.*\n?)+', '', c.source)
    text, res = MarkdownExporter().from_notebook_node(
        nb, {'unique_key': 'index', 'output_files_dir': 'index_files'}
    )

    def alt(m):
        output = nb.cells[int(m[2])].outputs[int(m[3])]
        return f'![{output.metadata.get("image/png", {}).get("alt", "figure")}]{m[1]}'

    text = re.sub(r'!\[png\](\(index_files/index_(\d+)_(\d+)\.png\))', alt, text)
    text = re.sub(r'\n([ \t]*\n)+', '\n\n', text).strip() + '\n'
    return {'README.md': text.encode(), **res['outputs']}


def main(check=False):
    "Write the files, or only compare; return the names of those that differed."
    files, folder = render(), notebooks.ROOT / 'index_files'
    extra = [
        f'index_files/{p.name}' for p in folder.glob('*') if f'index_files/{p.name}' not in files
    ]
    path = lambda name: notebooks.ROOT / name
    bad = [
        name for name, b in files.items() if not path(name).exists() or path(name).read_bytes() != b
    ] + extra
    if not check:
        shutil.rmtree(folder, ignore_errors=True)
        for name, b in files.items():
            path(name).parent.mkdir(exist_ok=True)
            path(name).write_bytes(b)
    return bad


if __name__ == '__main__':
    check = '--check' in sys.argv
    bad = main(check)
    if not bad:
        print('README.md matches index.ipynb')
    elif check:
        sys.exit(f'out of step with index.ipynb: {", ".join(bad)}; run `make readme`')
    else:
        print('wrote', ', '.join(bad))
