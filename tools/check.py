"""Every check that `make test` and CI make; the last line counts them.

    python tools/check.py [--fast]     --fast leaves out the tests

All steps run even if an early one fails. Steps compare files before and after, so uncommitted work
is no obstacle.
"""

import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from pathlib import Path
import layout
import notebooks
import readme

CODE = ['larp_edu/*.py']
NBS = ['nbs/*.ipynb', 'index.ipynb']
TREE = [
    *CODE,
    *NBS,
    'larp_edu/assets/*',
    'results/*',
    'results/claims/*',
    'images/*',
    'index_files/*',
    'README.md',
    'settings.ini',
]
LINTED = ['nbs', 'tools', 'tests', 'setup.py', 'larp_edu']
FORMATTED = LINTED[:-1]  # modules are laid out as their notebooks are
WORKERS = 3  # one more than the cores of CI: now and then one waits for a browser
LONGEST = 900  # seconds; a test that takes longer hangs: it prints its stack, and fails


def snapshot(patterns):
    found = [p for g in patterns for p in notebooks.ROOT.glob(g) if p.is_file()]
    return {str(p.relative_to(notebooks.ROOT)): p.read_bytes() for p in found}


def changed(before, patterns):
    "Names of the files that differ from `before`."
    after = snapshot(patterns)
    return sorted(f for f in before.keys() | after.keys() if before.get(f) != after.get(f))


# Each check returns a list of problems.


def export():
    before = snapshot(CODE)
    notebooks.nbdev('nbdev_export')
    return [
        f'{f}: differs from its notebook; it is exported now, look at it and commit'
        for f in changed(before, CODE)
    ]


def clean():
    before = snapshot(NBS)
    notebooks.nbdev('nbdev_clean')
    return [f'{f}: was not clean; it is now, commit it' for f in changed(before, NBS)]


def readme_matches():
    return [
        f'{f}: out of step with index.ipynb; run `make readme`' for f in readme.main(check=True)
    ]


def outputs():
    n = notebooks.check()  # prints the problems itself
    return [f'{n} problems, listed above; `make notebooks` mends stale outputs'] if n else []


def ruff(command, *paths):
    "What ruff has to say of those of the paths that are there, a line each."
    here = [path for path in paths if (notebooks.ROOT / path).exists()]
    words = [sys.executable, '-m', 'ruff', *command.split(), *here]
    done = subprocess.run(words, cwd=notebooks.ROOT, capture_output=True, text=True)
    return (done.stdout + done.stderr).splitlines() if done.returncode else []


def style():
    return ruff('check --output-format=concise', *LINTED) + ruff('format --check', *FORMATTED)


def rules():
    return [f'{rule}: {problem}' for rule, check in layout.RULES.items() for problem in check()]


def modules():
    "Every module has its page."
    bad = []
    for path in sorted((notebooks.ROOT / 'larp_edu').glob('*.py')):
        for line in path.read_text(encoding='utf-8').splitlines()[:5]:
            page = line.partition('File to edit: ')[2].rstrip('.')
            if page and not (path.parent / page).exists():
                bad.append(f'{path.name}: its notebook {page} is gone')
    return bad


CHECKS = {
    'export': export,
    'clean': clean,
    'README': readme_matches,
    'outputs': outputs,
    'modules': modules,
    'style': style,
    'layout': rules,
}


def tests():
    "Run pytest on some workers; return its exit status and the counts (passed, failed, skipped)."
    env = dict(os.environ, OMP_NUM_THREADS='1', PYTHONPATH=str(notebooks.ROOT))
    with tempfile.TemporaryDirectory() as tmp:
        xml = Path(tmp) / 'tests.xml'
        options = '-q -rs --dist worksteal --durations 5 -p no:cacheprovider'.split()
        options += ['-n', str(WORKERS)]
        options += ['-o', f'faulthandler_timeout={LONGEST}', '-o', 'faulthandler_exit_on_timeout=1']
        status = subprocess.run(
            [sys.executable, '-m', 'pytest', 'tests', *options, f'--junitxml={xml}'],
            cwd=notebooks.ROOT,
            env=env,
        ).returncode
        suites = list(ET.parse(xml).iter('testsuite')) if xml.exists() else []
    total, failed, skipped = (
        sum(int(s.get(k, 0)) for s in suites for k in keys.split())
        for keys in ('tests', 'failures errors', 'skipped')
    )
    return status, (total - failed - skipped, failed, skipped)


def report(name, bad):
    print(
        f'-- {name}: ' + ('ok' if not bad else 'FAILED'),
        *(f'   {b}' for b in bad),
        sep='\n',
        flush=True,
    )
    return [name] if bad else []


def guarded(check):
    "The problems that `check` finds; its own failure is one."
    try:
        return check()
    except Exception as e:
        return [f'{type(e).__name__}: {e}']


def main(fast=False):
    failed = [name for name, check in CHECKS.items() for name in report(name, guarded(check))]
    n, counts = len(CHECKS), ''
    if not fast:
        before = snapshot(TREE)
        status, (p, f, s) = tests()
        failed += report('tests', [f'pytest ended with status {status}'] if status else [])
        failed += report('tree', [f'{f}: changed by the tests' for f in changed(before, TREE)])
        n, counts = n + 2, f', {p} tests passed, {f} failed, {s} skipped'
    passed = n - len(failed)
    line = (
        f'FAILED: {", ".join(failed)}: {passed} of {n} checks passed{counts}'
        if failed
        else f'ok: {n} checks{counts}'
    )
    out = notebooks.ROOT / 'runs' / 'test-summary.txt'
    out.parent.mkdir(exist_ok=True)
    out.write_text(line + '\n')
    print(line)
    return bool(failed)


if __name__ == '__main__':
    sys.exit(main('--fast' in sys.argv))
