# Thin: what a target does lives in the Python that it calls. All of it runs in .venv, which is made on first use.
PYTHON := $(shell python3.11 --version >/dev/null 2>&1 && echo python3.11 || echo python3)
BIN := .venv/bin

.PHONY: test lint demo bench reproduce tables .venv

test: lint
	$(BIN)/pytest --numprocesses 2 --dist loadfile

lint: .venv
	$(BIN)/ruff check
	$(BIN)/ruff format --check

# Train; then, each in a new process, answer a held-out question and explain the answer to a typed one. The last two
# lines are the relevance family's: train on made-up reviews, show what the model attends to.
demo: .venv
	$(BIN)/accelerate launch train.py recipes/calc/demo.yaml --output_dir runs/demo
	$(BIN)/hf-calc ask runs/demo --examples runs/demo/validation.jsonl --row 3
	$(BIN)/hf-calc explain runs/demo --output runs/demo/saliency \
		--question "What is the maximum number of nuts owned either by Anna or Carl?" \
		--context "Mark has 907 nuts, Anna has 816 nuts, Carl has 302 nuts, Grace has 279 nuts, Anna gave 224 nuts to Grace."
	$(BIN)/accelerate launch train.py recipes/relevance/demo.yaml --output_dir runs/reviews
	$(BIN)/hf-relevance explain runs/reviews --output runs/reviews/attention \
		"we did not book ahead , i found the hotel not very good , my aunt called it great , it is near the station ."

# Minutes, and 3 GB of disk; nothing else should run meanwhile.
bench: .venv
	$(BIN)/python -m benchmarks.calculator_qa --rows 10000000 --output results/benchmarks/calculator_qa.json
	$(BIN)/python -m benchmarks.processor --output results/benchmarks/processor.json
	$(BIN)/python -m benchmarks.pipeline --output results/benchmarks/pipeline.json
	$(BIN)/python -m benchmarks.estimators --output results/benchmarks/estimators.json --picture results/benchmarks/estimators.png
	$(BIN)/python -m benchmarks.adversarial --output results/benchmarks/adversarial.json
	$(BIN)/python -m benchmarks.relevance_step --output results/benchmarks/relevance_step.json
	$(BIN)/python -m benchmarks.symbolic_layer --output results/benchmarks/symbolic_layer.json
	$(BIN)/python -m benchmarks.symbolic_layer --embedding-gradient --output results/benchmarks/symbolic_layer_embedding_gradient.json
	$(BIN)/python -m benchmarks.train_step --output results/benchmarks/train_step.json

# Runs the experiments of recipes/experiments.yaml that have no results yet; it may be stopped, and goes on when called
# again. `make reproduce runs=--list` says what is done, `make reproduce runs=ablation_base` runs what has that in its name.
reproduce: .venv
	$(BIN)/python reproduce.py $(runs)

tables: .venv
	$(BIN)/python results/tables.py

.venv: .venv/installed
.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@
