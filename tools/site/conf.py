"Sphinx settings of the site; `tools/site/build.py` copies them beside the pages and runs Sphinx there."

import re

project, author, copyright = (
    'larp_edu',
    'The larp_edu authors',
    'the larp_edu authors; code and weights Apache-2.0',
)
extensions = ['myst_nb', 'sphinx.ext.autodoc', 'sphinx.ext.viewcode']
html_theme, html_title, html_static_path = 'sphinx_book_theme', 'larp_edu', []
html_theme_options = {'show_toc_level': 2, 'use_download_button': False}
html_show_sphinx, html_copy_source, root_doc = False, False, 'index'
nb_execution_mode, nb_merge_streams = 'off', True  # the notebooks carry their outputs
myst_enable_extensions, myst_heading_anchors = ['dollarmath', 'amsmath'], 3
suppress_warnings = ['mystnb.unknown_mime_type', 'myst.header']
autodoc_default_options = {
    'members': True,
    'undoc-members': False,
    'show-inheritance': True,
    'member-order': 'bysource',
}
autodoc_typehints, add_module_names = 'none', False
autodoc_inherit_docstrings = False


def plain(app, what, name, obj, options, lines):
    "Docstrings here are prose with `code` in single backticks, not reStructuredText."
    lines[:] = [
        re.sub(
            r'(``)?`([^`]+)`(``)?|([*|_\\])',
            lambda m: f'``{m[2]}``' if m[2] else '\\' + m[4],
            line.strip(),
        )
        for line in lines
    ]


def setup(app):
    app.connect('autodoc-process-docstring', plain)
