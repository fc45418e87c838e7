"""Serve the six panels of page 32_explore as an app, without code: `make app`, or python tools/app.py [voila's own options]."""

import os, sys
from pathlib import Path
import nbformat

page = (
    Path(__file__).resolve().parents[1] / 'runs/app.ipynb'
)  # voila serves notebooks, so one is written
page.parent.mkdir(exist_ok=True)
cell = nbformat.v4.new_code_cell('from larp_edu.explore import app\napp()')
nbformat.write(
    nbformat.v4.new_notebook(
        cells=[cell], metadata={'kernelspec': {'name': 'python3', 'display_name': 'python3'}}
    ),
    page,
)
os.execv(
    sys.executable,
    [
        sys.executable,
        '-m',
        'voila',
        str(page),
        '--show_tracebacks=True',
        '--Voila.tornado_settings={"websocket_max_message_size": 500000000}',
        *sys.argv[1:],
    ],
)
