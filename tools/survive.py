"""Kill real training runs with SIGKILL at random moments, let them go on, and compare with a run that was left alone: `python tools/survive.py`.

For one process and for two (torchrun), three kills each, a checkpoint after every step, so that many kills fall into the writing of one.
Writes results/survival.json."""

import argparse, json, os, random, signal, subprocess, sys, tempfile, time
from pathlib import Path
from larp_edu.machine import provenance
from larp_edu.files import load_tensors

ROOT = Path(__file__).resolve().parents[1]


def start(folder, processes, steps, save_every):
    launch = (
        ['-m', 'torch.distributed.run', '--standalone', '--nproc_per_node', str(processes)]
        if processes > 1
        else []
    )
    words = [
        '-m',
        'larp_edu.train',
        'tokenizer',
        '--out',
        str(folder),
        '--steps',
        str(steps),
        '--save-every',
        str(save_every),
        '--log-every',
        '1',
    ]
    env = dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1')
    return subprocess.Popen(
        [sys.executable, *launch, *words],
        env=env,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(run):
    error = run.communicate()[1]
    if run.returncode:
        raise SystemExit(error[-3000:])


def kill_all(run, folder):
    "SIGKILL to every process of the run: those that have its folder on their command line (torchrun's workers are in sessions of their own)."
    for pid in [int(p) for p in os.listdir('/proc') if p.isdigit()]:
        try:
            if str(folder).encode() in Path(f'/proc/{pid}/cmdline').read_bytes():
                os.kill(pid, signal.SIGKILL)
        except (OSError, ProcessLookupError):
            pass
    run.communicate()


def rows(folder):
    path = folder / 'log.jsonl'
    return (
        [json.loads(l)['step'] for l in path.read_text().splitlines() if l.endswith('}')]
        if path.exists()
        else []
    )


def trial(processes, steps=60, kills=3, save_every=1, seed=0):
    "A dict: where it was killed, where it went on, and whether all ended equal."
    draw = random.Random(seed)
    with tempfile.TemporaryDirectory() as tmp:
        whole, broken = Path(tmp) / 'whole', Path(tmp) / 'broken'
        finish(start(whole, processes, steps, save_every))
        killed = []
        for at in sorted(draw.sample(range(2, steps - 2), kills)):
            run, limit = start(broken, processes, steps, save_every), time.monotonic() + 120
            while (
                max(rows(broken), default=0) < at
                and time.monotonic() < limit
                and run.poll() is None
            ):
                time.sleep(0.002)
            time.sleep(draw.random() * 0.15)
            kill_all(run, broken)
            kept = load_tensors(broken / 'checkpoint.safetensors')[1]['step']
            killed.append(
                dict(
                    log=max(rows(broken)),
                    checkpoint=kept,
                    half_written=len(list(broken.glob('.*.part'))),
                )
            )
            print(processes, 'processes:', killed[-1], flush=True)
        finish(start(broken, processes, steps, save_every))
        a, b = (load_tensors(f / 'checkpoint.safetensors') for f in (whole, broken))
        same = a[0].keys() == b[0].keys() and all(a[0][k].equal(b[0][k]) for k in a[0])
        losses = [[r.get('loss') for r in m['history']] for _, m in (a, b)]
        return dict(
            processes=processes,
            steps=steps,
            save_every=save_every,
            killed=killed,
            lost_at_most=max(k['log'] - k['checkpoint'] for k in killed),
            tensors=len(a[0]),
            weights_and_optimisers_equal=same,
            logged_losses_equal=losses[0] == losses[1],
            left_over=len(list(broken.glob('.*.part'))),
        )


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('--seed', type=int, default=0)
    p.add_argument('--out', type=Path, default=ROOT / 'results/survival.json')
    a = p.parse_args()
    trials = [trial(processes, seed=a.seed + processes) for processes in (1, 2)]
    for t in trials:
        print({k: v for k, v in t.items() if k != 'killed'})
    a.out.write_text(
        json.dumps(
            dict(
                what='training of the miniature tokenizer, killed three times with SIGKILL and continued, against a run left alone',
                command='python tools/survive.py',
                seed=a.seed,
                **provenance(),
                trials=trials,
            ),
            indent=1,
        )
        + '\n'
    )
    if not all(t['weights_and_optimisers_equal'] and t['logged_losses_equal'] for t in trials):
        sys.exit('a continued run differs')


if __name__ == '__main__':
    main()
