# Forwards to ./dev: `make test` is `./dev test`, and `make` alone builds.
COMMANDS = build run check test deps sim soak bench fuzz cover format tidy clang-tidy clean help
.PHONY: $(COMMANDS)
$(COMMANDS):
	@./dev $@
