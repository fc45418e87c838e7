"""Put LARP's claims to the test: train and measure the points of a grid, as many as are missing.

    python tools/claims.py judge            train the judge of the textured world, and test it
    python tools/claims.py pilot            find the world: textures, hues, sizes of the generator
    python tools/claims.py price            what the grid costs, and what of it is done
    python tools/claims.py run              run it; go on wherever it was stopped
    python tools/claims.py verdict          what the rows say, into results/claims/verdict.json

Options: --regime toy|gpu|gpu-short, --seeds 5, --only 1 2 ... (questions), --arms w0 w0.06 ...
(tokenizers of these names and their generators), --jobs 2, --minutes M (begin no point after that),
--threads 1 (of each point), --keep (rows that older code made are good enough).

Each point has a process of its own. Weights and checkpoints lie in runs/claims, a row of numbers
for each point in results/claims. A row is made again when its config, the code that its training
or measuring reaches, or the judge is another one. Killed at any time, nothing is lost but the
steps since the last checkpoint.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
import torch
import freshness
from larp_edu.claims import SECOND_MACHINE, machine_of, read_rows, verdicts
from larp_edu.files import asset, fingerprint, save_model, write_json
from larp_edu.grid import FIRST, REGIMES, Arms, GeneratorPoint, Point, Regime, TokenizerPoint
from larp_edu.grid import budget, estimated_seconds, lineage, make_grid, point_config, point_key
from larp_edu.grid import run_point, scale_of, validate_judge, write_row
from larp_edu.judge import ShapeNet, train_texture_judge
from larp_edu.machine import provenance

ROOT = Path(__file__).resolve().parents[1]
JUDGE = asset('texture_judge.safetensors')
TRAINS = {
    TokenizerPoint: ('begin_tokenizer', 'fit_point'),
    GeneratorPoint: ('fit_generator_point',),
}
MEASURES = {
    TokenizerPoint: ('run_tokenizer', 'measure_tokenizer'),
    GeneratorPoint: ('run_generator', 'measure_generator'),
}


# ---- keys


@lru_cache(None)
def code_hash(names: tuple[str, ...]) -> str:
    "A checksum of the definitions that functions of larp_edu.grid reach."
    reached = freshness.Package(ROOT).reach([('grid', name) for name in names])
    text = [(key, [freshness.normal(n) for n in reached[key]]) for key in sorted(reached, key=str)]
    return freshness.digest(text)


@dataclass(frozen=True)
class Place:
    "Where a grid lives, and who judges it."

    runs: Path = ROOT / 'runs/claims'
    results: Path = ROOT / 'results/claims'
    judge: Path = JUDGE

    def training_key(self, point: Point) -> str:
        "Of the weights: config and training code, the parents' code included."
        code = [code_hash(TRAINS[type(p)]) for p in (*lineage(point), point)]
        return point_key(point, ' '.join(code))

    def folder(self, point: Point) -> Path:
        "For log, checkpoint and weights."
        return self.runs / f'{point.id}-{self.training_key(point)}'

    def key(self, point: Point) -> str:
        "Of the row: the training's, the measuring code's and the judge's."
        parts = self.training_key(point), code_hash(MEASURES[type(point)]), judge_name(self.judge)
        return point_key(point, ' '.join(parts))

    def row_path(self, point: Point) -> Path:
        "Of the row of numbers."
        return self.results / f'{point.id}.json'

    def write(self, point: Point, row: dict) -> None:
        "Write a row; one that another machine made of the same point is kept, and this put beside."
        path = self.row_path(point)
        there = self.row(point)
        if there and machine_of(there) != machine_of(row):
            path = self.results / SECOND_MACHINE / path.name
        write_row(path, row)

    def row(self, point: Point, keep: bool = False) -> dict | None:
        "The row that is there, None if it is not, or is stale."
        path = self.row_path(point)
        row = json.loads(path.read_text()) if path.exists() else None
        if row is None or keep and row['config'] == point_config(point):
            return row
        return row if row['key'] == self.key(point) else None


@lru_cache(None)
def judge_name(path: Path) -> str:
    "Fingerprint of the judge's weights."
    if not path.exists():
        sys.exit(f'no judge at {path}: python tools/claims.py judge, with the same --regime')
    return fingerprint(ShapeNet.load(path))


# ---- one point, in a process of its own


def exit_with_parent():
    "End this process when the one that started it is gone: then its standard input ends."

    def wait():
        sys.stdin.read()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def work(place: Place, point: Point, question: int, threads: int) -> None:
    "Run a point and write its row."
    exit_with_parent()
    torch.set_num_threads(threads)
    start = place.folder(point.parents[0]) if point.parents else None
    key, judge = place.key(point), judge_name(place.judge)  # of the code that runs now
    began = time.process_time()
    scores = run_point(point, place.folder(point), start, ShapeNet.load(place.judge).to(device()))
    row = dict(
        id=point.id,
        name=point.name,
        seed=point.seed,
        question=question,
        kind=type(point).__name__,
        key=key,
        judge=judge,
        scores=scores,
        processor_seconds=time.process_time() - began,
        config=point_config(point),
        **provenance(),
    )
    place.write(point, row)


def device() -> str:
    "Where models live."
    return 'cuda' if torch.cuda.is_available() else 'cpu'


# ---- many points


class Runner:
    "Runs the points of a grid that are missing, parents first, some of them side by side."

    def __init__(self, place: Place, grid: dict[Point, int], command: list[str], options):
        self.place = place
        self.grid = grid
        self.command = command  # that runs one point, whose id is added
        self.options = options
        self.done = {p for p in grid if place.row(p, options.keep)}
        self.todo = [p for p in grid if p not in self.done]
        self.failed = set()
        self.running = {}  # process: point
        self.began = time.monotonic()
        self.want_weights()

    def next_point(self) -> Point | None:
        "The first point whose parents are done; points whose parents failed are given up."
        for point in list(self.todo):
            if any(p in self.failed for p in point.parents):
                self.todo.remove(point)
                self.failed.add(point)
            elif all(p in self.done for p in point.parents):
                self.todo.remove(point)
                return point
        return None

    def want_weights(self) -> None:
        "Parents that are done but whose weights are not on this machine have to run again."
        wanted = list(self.todo)
        for point in wanted:  # it grows while it is read: a parent has parents
            for parent in self.done.intersection(point.parents):
                if not (self.place.folder(parent) / 'tokens.safetensors').exists():
                    self.done.remove(parent)
                    self.todo.insert(0, parent)
                    wanted.append(parent)

    def late(self) -> bool:
        "Whether no more points are begun."
        return time.monotonic() - self.began > 60 * self.options.minutes

    def start(self, point: Point) -> None:
        "Begin a point in a process that ends with this one."
        self.place.folder(point).mkdir(parents=True, exist_ok=True)
        log = open(self.place.folder(point) / 'log.txt', 'a')
        env = os.environ | dict(OMP_NUM_THREADS=str(self.options.threads))
        process = subprocess.Popen(
            [*self.command, '--work', point.id],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env=env,
        )
        self.running[process] = point

    def collect(self) -> None:
        "Note the points that have ended."
        for process, point in list(self.running.items()):
            if process.poll() is None:
                continue
            del self.running[process]
            row = self.place.row(point)
            if process.returncode == 0 and row:
                self.done.add(point)
                print(self.line(point, row), flush=True)
            else:
                self.failed.add(point)
                print(f'FAILED {point.id}: {self.place.folder(point)}/log.txt', flush=True)

    def line(self, point: Point, row: dict) -> str:
        "One line about a point that is done."
        keys = 'psnr', 'psnr_plain', 'rfvd', 'gfvd', 'nats', 'rrecognised', 'grecognised', 'seconds'
        scores = {k: row['scores'][k] for k in keys if k in row['scores']}
        left = sum(map(estimated_seconds, self.todo)) / 3600 / self.options.jobs
        shown = ', '.join(f'{k} {v:.4g}' for k, v in scores.items())
        return f'{point.id}: {shown}; about {left:.1f} h to go'

    def run(self) -> bool:
        "Run all that is missing; whether nothing failed."
        try:
            while True:
                self.collect()
                while len(self.running) < self.options.jobs and not self.late():
                    point = self.next_point()
                    if point is None:
                        break
                    self.start(point)
                if not self.running:
                    break
                time.sleep(0.2)
        finally:
            for process in self.running:
                process.send_signal(signal.SIGTERM)
                process.wait()
        return not self.failed


# ---- the pilot


def pilot_grid(regime: Regime) -> dict[Point, int]:
    "Short trainings without prior in four worlds, each with three generators."
    grid = {}
    for texture, hues in ((0.15, 12), (0.0, 6), (0.1, 12), (0.2, 24)):
        world = replace(regime.world, texture=texture, hues=hues)
        arms = Arms(replace(regime, world=world), 0)
        tok = arms.scratch(f'pilot-texture{texture:g}-hues{hues}', regime.scratch_steps)
        grid[tok] = 0
        for size, clips in (('middle', 2000), ('large', 2000), ('middle', 16_000)):
            if clips <= regime.encoded:
                grid[arms.generator(tok, size=size, clips=clips)] = 0
    return grid


# ---- the command line


def of_arms(grid: dict[Point, int], names: list[str]) -> dict[Point, int]:
    "The points of some arms, and those that they need."
    unknown = sorted(set(names) - {p.name for p in grid})
    if unknown:
        known = ', '.join(dict.fromkeys(p.name for p in grid))
        sys.exit(f'--arms {" ".join(unknown)}: no such arm, expected some of {known}')
    needed = {q for p in grid if p.name in names for q in (*lineage(p), p)}
    return {p: question for p, question in grid.items() if p in needed}


def make_judge(options) -> None:
    "Train the judge of the textured world in stages that can be resumed, test it, and write both."
    began = time.process_time()
    torch.set_num_threads(options.threads)
    world = REGIMES[options.regime].world
    net = train_texture_judge(  # on 8 frames of 32 x 32: what it makes of clips of any size
        steps=options.steps,
        classes=world.classes,
        folder=ROOT / 'runs/claims/judge' / options.regime,
    )
    path = judge_of(options.regime)
    about = dict(steps=options.steps, batch=64, seed=0, command='python tools/claims.py judge')
    card = dict(recipe='larp_edu.judge.train_texture_judge', **about)
    save_model(path, net, half=True, **card)
    tested = validate_judge(ShapeNet.load(path), world)
    seconds = time.process_time() - began
    row = dict(**card, name=judge_name(path), processor_seconds=seconds, **tested, **provenance())
    write_row(ROOT / 'results/claims' / part_of(options.regime) / 'judge.json', row)
    if path == JUDGE:
        told = card | dict(recognised=tested['recognised'], floor=tested['floor'][0])
        write_json(path.with_suffix('.json'), told)
    for kind, damage in tested['damages'].items():
        print(f'{kind:>22}', [round(v, 2) for v in damage['fvd']], 'rises:', damage['rises'])
    print('floor', tested['floor'], 'recognised', tested['recognised'], tested['baselines'])


def part_of(regime: str) -> str:
    "Where in results/claims its rows are: those of the main regime right there."
    return '' if regime == 'toy' else regime


def judge_of(regime: str) -> Path:
    "The judge of a regime; that of the main one ships."
    return JUDGE if regime == 'toy' else ROOT / f'runs/claims/judge/{regime}.safetensors'


def show_price(place: Place, grid: dict[Point, int], options) -> None:
    "Print what the grid costs, what is done, and what is missing."
    print(f'{"question":84} seeds tokenizers generators hours')
    for question, what, seeds, toks, gens, hours in budget(grid):
        print(f'{question!s:>2} {what:82}{seeds!s:>5} {toks:10} {gens:10} {hours:5.1f}')
    missing = [p for p in grid if not place.row(p, options.keep)]
    hours = sum(map(estimated_seconds, missing)) / 3600
    print(
        f'{len(grid) - len(missing)} of {len(grid)} points are done; the others take about '
        f'{hours:.1f} h of one core, {hours / options.jobs:.1f} h with --jobs {options.jobs}'
    )


def write_verdict(results: Path, regime: Regime) -> None:
    "What the rows of a regime say, how many points of its grid they are, and of how many."
    rows = read_rows(results)
    found = verdicts(rows, scale_of(regime))
    ids = {point.id for point in make_grid(regime)}
    found |= dict(points=len(ids & {row['id'] for row in rows}), planned=len(ids))
    write_row(results / 'verdict.json', found)
    print(found['sentence'])


def parse(argv):
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument('what', choices=('judge', 'pilot', 'price', 'run', 'verdict'))
    p.add_argument('--regime', choices=REGIMES, default='toy')
    p.add_argument('--seeds', type=int, default=5, help='at most so many')
    p.add_argument('--only', type=int, nargs='+', choices=FIRST, default=FIRST)
    p.add_argument('--arms', nargs='+', metavar='NAME', help='only these tokenizers')
    p.add_argument('--jobs', type=int, default=2, help='points side by side')
    p.add_argument('--threads', type=int, default=1, help='of each point')
    p.add_argument('--minutes', type=float, default=1e9, help='begin no point after that')
    p.add_argument('--keep', action='store_true', help='rows of older code are good enough')
    p.add_argument('--steps', type=int, default=3000, help='of the judge')
    p.add_argument('--root', type=Path, help='for runs/ and results/, instead of the repository')
    p.add_argument('--judge', type=Path, help='another judge')
    p.add_argument('--work', help=argparse.SUPPRESS)
    return p.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    argv = sys.argv[1:] if argv is None else argv
    options = parse(argv)
    if options.what == 'judge':
        return make_judge(options)
    regime = REGIMES[options.regime]
    root = options.root or ROOT
    judge = options.judge or judge_of(options.regime)
    part = part_of(options.regime)
    place = Place(root / 'runs/claims' / part, root / 'results/claims' / part, judge)
    if options.what == 'verdict':
        return write_verdict(place.results, regime)
    if options.what == 'pilot':
        grid = pilot_grid(regime)
    else:
        grid = make_grid(regime, options.seeds, tuple(options.only))
        grid = of_arms(grid, options.arms) if options.arms else grid
    if options.work:
        point = next(p for p in grid if p.id == options.work)
        return work(place, point, grid[point], options.threads)
    show_price(place, grid, options)
    if options.what != 'price':
        command = [sys.executable, __file__, *argv]
        complete = Runner(place, grid, command, options).run()
        write_verdict(place.results, regime)
        sys.exit(not complete)


if __name__ == '__main__':
    main()
