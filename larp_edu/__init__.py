"""LARP, a video tokenizer with a learned autoregressive prior: the front door.

`import larp_edu` loads nothing; each name below is imported from its module when it is first used.
The page of the same number and name in nbs/ builds it step by step.
"""

__version__ = "0.2.0"

from importlib import import_module
from typing import TYPE_CHECKING

_HOMES = {
    'clips': 'contact_sheet',
    'shapeworld': 'ShapeWorld',
    'files': 'save_model',
    'video': 'read_video write_video',
    'tokenizer': 'LARPTokenizer TokenizerConfig encode_video tokenizer_presets',
    'trainer': 'TrainConfig Trainer',
    'generator': 'ARConfig ARTransformer generator_presets',
    'sampling': 'generate',
    'metrics': 'FeatureStats fvd psnr ssim',
    'nested': 'NestedTokenizer',
    'pretrained': 'load_generator load_tokenizer',
    'datasets': 'open_data',
    'evaluation': 'evaluate',
}
_MODULE_OF = {name: module for module, names in _HOMES.items() for name in names.split()}

__all__ = sorted(_MODULE_OF)

if TYPE_CHECKING:
    from .clips import contact_sheet
    from .datasets import open_data
    from .evaluation import evaluate
    from .files import save_model
    from .generator import ARConfig, ARTransformer, generator_presets
    from .metrics import FeatureStats, fvd, psnr, ssim
    from .nested import NestedTokenizer
    from .pretrained import load_generator, load_tokenizer
    from .sampling import generate
    from .shapeworld import ShapeWorld
    from .tokenizer import LARPTokenizer, TokenizerConfig, encode_video, tokenizer_presets
    from .trainer import TrainConfig, Trainer
    from .video import read_video, write_video


def __getattr__(name: str):
    "Import a name of the front door when it is first used."
    if name not in _MODULE_OF:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    value = getattr(import_module(f'.{_MODULE_OF[name]}', __name__), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted({*globals(), *__all__})
