"`import larp_edu` is quick, its names are what they say, and the tokenizer needs no film library."

import subprocess
import sys
from pathlib import Path
import pytest
import larp_edu

ROOT = Path(__file__).resolve().parents[1]
HEAVY = {'matplotlib', 'av', 'imageio', 'ipywidgets', 'accelerate', 'huggingface_hub', 'tyro'}


def loaded_by(code):
    "The top-level packages that a line of code loads in a new process."
    code += "; import sys; print(*{name.partition('.')[0] for name in sys.modules})"
    words = [sys.executable, '-c', code]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_import_loads_nothing():
    assert not loaded_by('import larp_edu') & {'torch', 'numpy', *HEAVY}


def test_the_tokenizer_is_light():
    found = loaded_by('from larp_edu import LARPTokenizer, TokenizerConfig, psnr, save_model')
    assert 'torch' in found and not found & HEAVY


def test_training_loads_sharding_and_plotting_only_when_it_needs_them():
    code = "import sys, larp_edu.train; assert 'torch.distributed.fsdp' not in sys.modules"
    assert 'matplotlib' not in loaded_by(code)


@pytest.mark.parametrize('name', larp_edu.__all__)
def test_every_name_is_there_and_says_what_it_is(name):
    value = getattr(larp_edu, name)
    assert name in dir(larp_edu)
    assert isinstance(value, dict) or value.__doc__.strip()


def test_an_unknown_name():
    with pytest.raises(AttributeError, match="no attribute 'tokeniser'"):
        larp_edu.tokeniser
