"""The `curta` command.

Thin: it reads flags and the environment, calls the package that does the work, and turns what comes back into
text and an exit code. Every subcommand imports what it needs when it runs, so that `curta agent` works where
only the agent's dependencies are installed, and `curta --help` answers at once. Nothing imports this package.

Reading order: `main` (the table of subcommands), `environment` (flags, variables, secrets), `rest` (calls to
an orchestrator), then the subcommands.
"""
