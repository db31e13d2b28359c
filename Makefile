# make demo    the main job, from nothing: tools, plugins, a session over this repository
# make test    all tests
# make lint    formatting, lints, licenses and advisories, planted secrets
# make bench   costs, as ratios to a floor measured in the same run
# make kills   a thousand kills at random moments, and a clean start after each
# make soak    ten million calls in one process, after which it holds what it held before
# make attacks what each attack costs the host, printed
# make fuzz    every fuzz target for a minute; needs cargo-fuzz and a C++ compiler
# make bench-peers  one small tool as people run such tools today; fetches what it needs from npm and PyPI
# make interop what needs programs from other registries; skips what is missing and counts it
# make plugins the example plugins in Rust, to target/plugins/NAME/{plugin.toml,NAME.wasm}, hooks, to target/hooks/NAME, and
#              skills, to target/skills/NAME
# make plugins-foreign  those in JavaScript and Python, to target/plugins-foreign; fetches their compilers from npm and PyPI

SHELL   := /bin/bash
WASM    := wasm32-wasip2
OUT     := $(or $(CARGO_TARGET_DIR),target)
PLUGINS := $(patsubst example-plugins/%/Cargo.toml,%,$(wildcard example-plugins/*/Cargo.toml))
FOREIGN := $(filter-out $(addprefix example-plugins/,$(PLUGINS)),$(wildcard example-plugins/*))
HOOKS   := $(notdir $(wildcard example-hooks/*))
SKILLS  := $(notdir $(wildcard example-skills/*))
NEXTEST := $(shell cargo nextest --version >/dev/null 2>&1 && echo yes)

.PHONY: demo test lint bench bench-peers interop attacks kills soak fuzz plugins plugins-foreign guests setup
.DEFAULT_GOAL := test

setup:
	@test -d "$$(rustc --print target-libdir --target $(WASM))" || rustup target add $(WASM)

plugins: setup
	cargo build --locked --profile plugin --target $(WASM) $(addprefix -p ,$(PLUGINS) $(HOOKS) $(SKILLS))
	@for name in $(PLUGINS); do \
	  mkdir -p target/plugins/$$name && \
	  cp example-plugins/$$name/plugin.toml target/plugins/$$name/ && \
	  cp $(OUT)/$(WASM)/plugin/$${name//-/_}.wasm target/plugins/$$name/$$name.wasm || exit 1; \
	done
	@for name in $(HOOKS); do \
	  mkdir -p target/hooks/$$name && \
	  cp example-hooks/$$name/plugin.toml target/hooks/$$name/ && \
	  cp $(OUT)/$(WASM)/plugin/$${name//-/_}.wasm target/hooks/$$name/$$name.wasm || exit 1; \
	done
	@for name in $(SKILLS); do \
	  mkdir -p target/skills/$$name && \
	  cp example-skills/$$name/SKILL.md example-skills/$$name/plugin.toml target/skills/$$name/ && \
	  cp $(OUT)/$(WASM)/plugin/$${name//-/_}.wasm target/skills/$$name/$$name.wasm || exit 1; \
	done

plugins-foreign:
	tests/plugins_foreign.sh target/plugins-foreign $(FOREIGN)

guests: setup
	cargo build --locked --profile plugin --target $(WASM) -p palisade-guests --lib --examples
	@mkdir -p target/guests && cp $(OUT)/$(WASM)/plugin/palisade_guests.wasm target/guests/guest.wasm
	@for file in tests/guests/definitions_*.rs tests/guests/hook_*.rs tests/guests/{conformance,foreign,program,store}.rs; do \
	  name=$$(basename $$file .rs) && cp $(OUT)/$(WASM)/plugin/examples/$$name.wasm target/guests/ || exit 1; \
	done

demo: plugins
	cargo build --locked --release --workspace --bins
	@PALISADE=$(OUT)/release/palisade tests/demo.sh

test: plugins guests
	cargo build --locked --workspace --bins --examples
ifeq ($(NEXTEST),yes)
	cargo nextest run --locked --workspace --no-fail-fast
else
	cargo test --locked --workspace --no-fail-fast
endif
	cargo test --locked --workspace --doc

lint: plugins
	cargo build --locked --workspace --bins --examples
	cargo fmt --all --check
	cargo fmt --manifest-path fuzz/Cargo.toml --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	cargo clippy --locked --profile plugin --target $(WASM) $(addprefix -p ,$(PLUGINS) $(HOOKS) $(SKILLS) conformance-rust) -- -D warnings
	tests/lint.sh

bench: plugins guests
	cargo build --locked --release --workspace --bins
	tests/bench.sh tests/figures.md

interop: plugins guests
	cargo build --locked --release --workspace --bins
	PALISADE=$(OUT)/release/palisade tests/interop.sh

attacks: guests
	cargo build --locked --workspace --bins
	cargo test --locked --workspace --test attacks --test attacks_at_load -- --nocapture

kills: plugins
	cargo build --locked --workspace --bins
	PALISADE_KILLS=1000 cargo test --locked --workspace --test kills --test store -- --nocapture

soak: plugins guests
	cargo build --locked --release --workspace --bins
	cargo bench --locked --workspace --bench soak

fuzz:
	fuzz/run.sh 60

bench-peers: plugins
	cargo build --locked --release --workspace --bins
	PALISADE=$(OUT)/release/palisade python3 tests/peers/run.py
