"Released models come from the hub: once, from a pinned commit, resumed when the line breaks."

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
import pytest
from larp_edu.generator import ARTransformer, generator_presets
from larp_edu.pretrained import save_released

ROOT, REPO = Path(__file__).resolve().parents[1], 'someone/small-AR'
LOAD = f"""
from larp_edu.pretrained import *
try:
    print(len(load_generator({REPO!r}, **ARGS).state_dict()), 'tensors')
except (OSError, ValueError) as e:
    print(e)
"""


class Hub(BaseHTTPRequestHandler):
    """As much of the hub's protocol as a download needs, in this process.

    Of the server, `folder`: the files; `main`: the newest commit; `cut`: break off the next
    download half way; `asked`: (path, range) of every request."""

    def log_message(self, *args):
        pass

    def do_HEAD(self):
        self.do_GET(body=False)

    def do_GET(self, body=True):
        s = self.server
        s.asked.append((self.path, self.headers.get('Range')))
        found = self.model_info() or self.file()
        if found is None:
            return self.send_error(404)
        data, headers = found
        start = self.first_byte()
        self.send_response(206 if start else 200)
        if start:
            self.send_header('Content-Range', f'bytes {start}-{len(data) - 1}/{len(data)}')
        headers |= {'Content-Type': 'application/octet-stream', 'Content-Length': len(data) - start}
        for k, v in headers.items():
            self.send_header(k, str(v))
        self.end_headers()
        if body:
            self.send_body(data, start)

    def first_byte(self):
        asked = re.match(r'bytes=(\d+)-', self.headers.get('Range') or '')
        return int(asked[1]) if asked else 0

    def model_info(self):
        "The answer about a repository: its newest commit, or the one asked for, and its files."
        m = re.fullmatch(f'/api/models/{REPO}(?:/revision/(.+))?', self.path.split('?')[0])
        if not m:
            return None
        commit = self.server.main if m[1] in (None, 'main') else m[1]
        names = [dict(rfilename=p.name) for p in self.server.folder.iterdir()]
        info = dict(id=REPO, modelId=REPO, sha=commit, siblings=names)
        return json.dumps(info).encode(), {}

    def file(self):
        m = re.fullmatch(f'/{REPO}/resolve/([^/]+)/([^/]+)', self.path.split('?')[0])
        if not m or not (self.server.folder / m[2]).exists():
            return None
        data = (self.server.folder / m[2]).read_bytes()
        commit = self.server.main if m[1] == 'main' else m[1]
        mark = f'"{len(data)}-{m[2]}"'
        return data, {'ETag': mark, 'X-Repo-Commit': commit, 'Accept-Ranges': 'bytes'}

    def send_body(self, data, start):
        if self.server.cut and self.path.endswith('model.safetensors'):
            self.server.cut = False
            self.wfile.write(data[start : len(data) // 2])
            self.wfile.flush()
            self.connection.close()
        else:
            self.wfile.write(data[start:])


@pytest.fixture
def hub(tmp_path):
    server = ThreadingHTTPServer(('127.0.0.1', 0), Hub)
    server.folder, server.main, server.cut, server.asked = tmp_path / 'files', 'a' * 40, False, []
    save_released(ARTransformer(generator_presets['toy']), server.folder)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def load(hub, tmp_path, args='{}', **more):
    "What a process says that loads the model from the hub."
    address = f'http://127.0.0.1:{hub.server_address[1]}'
    ours = dict(HF_ENDPOINT=address, HF_HOME=str(tmp_path / 'home'), PYTHONPATH=str(ROOT))
    command = [sys.executable, '-c', LOAD.replace('ARGS', args)]
    env = os.environ | ours | more
    r = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
    assert r.returncode == 0, r.stderr
    return r.stdout.strip()


def files_asked(hub):
    return [path for path, _ in hub.asked if '/resolve/' in path]


def test_download_is_pinned_and_cached(hub, tmp_path):
    assert load(hub, tmp_path) == '33 tensors'
    pins = json.loads((tmp_path / 'home/larp_edu_pins.json').read_text())
    assert pins == {REPO: 'a' * 40}
    assert any(f'/resolve/{"a" * 40}/model.safetensors' in p for p, _ in hub.asked)
    hub.main = 'b' * 40  # the repository moves on; we stay
    hub.asked.clear()
    assert load(hub, tmp_path) == '33 tensors'
    assert not any('b' * 40 in p for p, _ in hub.asked)
    assert not files_asked(hub)
    assert load(hub, tmp_path, "dict(revision='main')") == '33 tensors'
    assert any('/resolve/main/' in p for p in files_asked(hub))
    assert load(hub, tmp_path, HF_HUB_OFFLINE='1') == '33 tensors'


def test_broken_download_is_resumed(hub, tmp_path):
    shutil.rmtree(hub.folder)
    # 54 MB: the client writes 10 MB at a time
    save_released(ARTransformer(replace(generator_presets['toy'], dim=512)), hub.folder)
    hub.cut = True
    assert load(hub, tmp_path) == '33 tensors'
    ranges = [r for p, r in hub.asked if p.endswith('model.safetensors') and r]
    assert [r for r in ranges if not r.startswith('bytes=0-')], hub.asked


def test_damaged_pins_are_named(hub, tmp_path):
    (tmp_path / 'home').mkdir()
    (tmp_path / 'home/larp_edu_pins.json').write_text('{"a')
    assert 'larp_edu_pins.json is damaged' in load(hub, tmp_path)


def test_offline_and_never_downloaded(hub, tmp_path):
    said = load(hub, tmp_path, HF_HUB_OFFLINE='1')
    assert said.startswith(f'{REPO} is no folder here and cannot be downloaded')
    assert '\n' not in said
    assert not (tmp_path / 'home/larp_edu_pins.json').exists()


def test_a_repository_without_the_files(hub, tmp_path):
    (hub.folder / 'model.safetensors').unlink()
    said = load(hub, tmp_path)
    assert said.startswith(f'{REPO} is no folder here and cannot be downloaded')
    assert 'NotFound' in said and '\n' not in said
