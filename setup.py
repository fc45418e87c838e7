"Package larp_edu as described in settings.ini (nbdev's own setup.py fails on recent setuptools)."

from configparser import ConfigParser
from pathlib import Path
from setuptools import setup

parser = ConfigParser(delimiters=['='])
parser.read('settings.ini', encoding='utf-8')
settings = parser['DEFAULT']
readme = Path('README.md')
pythons = ('3.10', '3.11', '3.12', '3.13')

setup(
    name=settings['lib_name'],
    version=settings['version'],
    description=settings['description'],
    keywords=settings['keywords'],
    author=settings['author'],
    url=settings['git_url'],
    license='Apache-2.0',
    license_files=['LICENSE'],
    long_description=readme.read_text(encoding='utf-8') if readme.exists() else '',
    long_description_content_type='text/markdown',
    classifiers=[
        'Development Status :: 3 - Alpha',
        'Intended Audience :: Developers',
        'Intended Audience :: Education',
        'Natural Language :: English',
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
        *(f'Programming Language :: Python :: {version}' for version in pythons),
    ],
    python_requires='>=' + settings['min_python'],
    install_requires=settings['requirements'].split(),
    extras_require={name: settings[f'{name}_requirements'].split() for name in ('dev', 'lpips')},
    packages=['larp_edu'],
    package_data={'larp_edu': ['assets/*']},
    zip_safe=False,
    entry_points={
        'console_scripts': ['larp = larp_edu.cli:main'],
        'nbdev': ['larp_edu=larp_edu._modidx:d'],
    },
)
