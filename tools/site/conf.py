"Sphinx settings of the site; `build.py` copies them beside the pages and runs Sphinx there."

import ast
import importlib
import inspect
import re
from fastcore.docments import docments

project = 'larp_edu'
author = 'The larp_edu authors'
copyright = 'the larp_edu authors; code and weights Apache-2.0'
root_doc = 'index'
extensions = ['myst_nb', 'sphinx.ext.autodoc', 'sphinx.ext.viewcode']

html_theme = 'sphinx_book_theme'
html_title = 'larp_edu'
html_theme_options = {'show_toc_level': 2, 'use_download_button': False}
html_show_sphinx = False
html_copy_source = False

nb_execution_mode = 'off'  # the notebooks carry their outputs
nb_merge_streams = True
myst_enable_extensions = ['dollarmath', 'amsmath']
myst_heading_anchors = 3
suppress_warnings = ['mystnb.unknown_mime_type', 'myst.header']

autodoc_member_order = 'bysource'
autodoc_preserve_defaults = True
autodoc_typehints = 'none'
autodoc_inherit_docstrings = False
add_module_names = False


def names_of(node):
    "The names that a statement of a module defines."
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return [node.name]
    targets = {ast.Assign: 'targets', ast.AnnAssign: 'target'}.get(type(node))
    targets = getattr(node, targets) if targets else []
    targets = targets if isinstance(targets, list) else [targets]
    return [n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name)]


def comment_of(module, name):
    "The comment of a constant: the lines above its definition, or the end of its line."
    text = inspect.getsource(importlib.import_module(f'larp_edu.{module}'))
    lines = text.splitlines()
    rows = [node.lineno - 1 for node in ast.parse(text).body if name in names_of(node)]
    if not rows:
        return ''
    above = []
    for line in reversed(lines[: rows[0]]):
        if not line.startswith('# ') or line.startswith('# %%'):
            break
        above.insert(0, line[2:])
    return ' '.join(above) or lines[rows[0]].partition('  # ')[2]


def argument_lines(value):
    "What the comments beside arguments, fields and the result of `value` say, a list."
    comments = {k: v for k, v in docments(value).items() if v}
    names = {'return': 'returns'}
    lines = [f'- `{names.get(k, k)}`: {" ".join(v.split())}' for k, v in comments.items()]
    return ['', *lines, ''] if lines else []


def plain(app, what, name, value, options, lines):
    "Docstrings here are prose with `code` in single backticks, not reStructuredText."
    if what == 'data':  # a constant; what Python gives is the docstring of its type
        _, module, constant = name.split('.')
        lines[:] = [comment_of(module, constant)]
    elif what in ('class', 'function', 'method'):
        lines += argument_lines(value)

    def marked(match):
        return f'``{match[2]}``' if match[2] else '\\' + match[4]

    lines[:] = [re.sub(r'(``)?`([^`]+)`(``)?|([*|_\\])', marked, line.strip()) for line in lines]


def setup(app):
    app.connect('autodoc-process-docstring', plain)
