"Training from the command line meets what real runs meet: a full disk, a kill while a checkpoint is written."

import importlib.util, os, subprocess, sys
from pathlib import Path
from larp_edu.files import load_tensors
from larp_edu.tokenizer import LARPTokenizer

ROOT = Path(__file__).resolve().parents[1]
ENV = dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1')


def test_a_full_disk_is_one_line_and_leaves_the_last_checkpoint(tmp_path):
    "A limit on file sizes, half of what a checkpoint needs, stands in for the full disk."
    words = [
        'tokenizer',
        '--out',
        str(tmp_path / 'run'),
        '--steps',
        '8',
        '--save-every',
        '4',
        '--log-every',
        '1',
    ]
    first = subprocess.run(
        [sys.executable, '-m', 'larp_edu.train', *words], env=ENV, capture_output=True, text=True
    )
    assert first.returncode == 0, first.stderr[-2000:]
    size = (tmp_path / 'run/checkpoint.safetensors').stat().st_size
    before = load_tensors(tmp_path / 'run/checkpoint.safetensors')[1]['step']
    code = f'import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, ({size // 2}, {size // 2})); from larp_edu.train import main; main(sys.argv[1:])'
    words[2] = str(tmp_path / 'full')
    full = subprocess.run(
        [sys.executable, '-c', code, *words], env=ENV, capture_output=True, text=True
    )
    assert (
        full.returncode == 1
        and full.stderr.strip().splitlines()[-1].startswith('error: could not write')
        and 'checkpoint.safetensors' in full.stderr
    )
    assert not list((tmp_path / 'full').glob('checkpoint*')) and not list(
        (tmp_path / 'full').glob('.*.part')
    )  # no half file under any name
    again = subprocess.run(
        [sys.executable, '-m', 'larp_edu.train', *words], env=ENV, capture_output=True, text=True
    )
    assert again.returncode == 0, again.stderr[-2000:]
    a, b = (
        LARPTokenizer.load(tmp_path / d / 'tokenizer.safetensors').state_dict()
        for d in ('run', 'full')
    )
    assert before == 8 and all(a[k].equal(b[k]) for k in a)


def test_a_killed_run_ends_as_one_left_alone():
    spec = importlib.util.spec_from_file_location('survive', ROOT / 'tools/survive.py')
    survive = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(survive)
    t = survive.trial(1, steps=14, kills=1, seed=5)
    assert (
        t['weights_and_optimisers_equal']
        and t['logged_losses_equal']
        and t['left_over'] == 0
        and t['lost_at_most'] <= 2
    ), t
