# make run    open napari with Topiary and a sample (without a screen: the same story as pictures)
# make test   style, types, manifest and tests
# Both set everything up first, once: .venv, the packages, the system libraries that Qt needs.

VENV := .venv
READY := $(VENV)/.ready

.PHONY: run test setup clean

run: $(READY)
	@bash .ci/start

test: $(READY)
	@bash .ci/system-libraries --virtual-screen
	@bash .ci/check $(ARGS)

setup: $(READY)

$(READY): pyproject.toml .ci/constraints.txt .ci/setup
	@bash .ci/setup $(VENV)

clean:
	rm -rf $(VENV) demo_out .pytest_cache .mypy_cache .ruff_cache .hypothesis
