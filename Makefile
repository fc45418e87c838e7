# make demo       train a small LARP from scratch on a CPU and look at it: runs/demo/index.html is there
#                 after seconds and follows the run (make demo DATA=folder/of/clips SEED=1)
# make test       every check that CI makes
# make lab        open JupyterLab on the index
# make app        six panels with sliders in the browser, without code
# make notebooks  run and clean all notebooks in order, so that their outputs are true
# make claims     put the paper's claims to the test; many hours, goes on where it was stopped
# make assets     retrain the small weights in larp_edu/assets
# make site       the notebooks and the API as a web site: _site/index.html
# make readme     write README.md from index.ipynb
# make clean      remove what building and testing left behind
#
# The active environment is used, else .venv is created (PYTHON=python3.12 chooses its Python). If it has no PyTorch,
# then that is installed first: TORCH='torch==2.13.0 --index-url ...' chooses the build.

PYTHON ?= python3
TORCH  ?= torch==2.13.0
SEED = 0
DATA =
export PYTHON TORCH SEED DATA

ENV := $(if $(VIRTUAL_ENV),$(VIRTUAL_ENV),$(if $(CONDA_PREFIX),$(CONDA_PREFIX),.venv))
PY := "$(ENV)/bin/python"

.PHONY: help env demo test lab app notebooks claims assets site readme clean

help:
	@sed -n '/^#/!q; s/^# \{0,1\}//p' Makefile

env:
	@sh tools/install.sh "$(ENV)"

demo: env
	$(PY) -m larp_edu.cli demo --seed "$$SEED" $${DATA:+--data "$$DATA"}

test: env
	$(PY) tools/check.py

lab: env
	$(PY) -m jupyterlab index.ipynb --ServerApp.tornado_settings='{"websocket_max_message_size": 500000000}'

app: env
	$(PY) -m larp_edu.cli app

notebooks: env
	$(PY) tools/notebooks.py run
	$(PY) tools/readme.py

claims: env
	$(PY) tools/claims.py run

assets: env
	$(PY) tools/assets.py

site: env
	$(PY) tools/site/build.py

readme: env
	$(PY) tools/readme.py

clean:
	rm -rf build dist _proc _docs _site .pytest_cache *.egg-info
	find . -name .venv -prune -o \( -name __pycache__ -o -name .ipynb_checkpoints \) -type d -prune -exec rm -rf {} +
