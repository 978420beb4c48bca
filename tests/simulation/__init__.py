"""Seeded histories of the whole system: the real orchestrators in a world where everything can go wrong.

Real are the scheduler, dispatcher, journal, loader, roster, sessions, intake, leadership, notices and the
store's functions. Simulated are time and the event loops (`loops`), PostgreSQL down to its row locks
(`database`, `statements`, `driver`), the network (`network`), the agents (`agents`), and what happens to all
of them (`faults`). `promises` looks at every commit, frame, turn and second; `history` lives one seed
through from its drawing to the moment when all must have come to rest.

    make simulate SEEDS=10000    so many histories; the first broken promise prints its trace
    make simulate SEED=4711      one again, exactly as it was, with its trace (TRACE=all: all of it)
    make mutants                 every promise broken on purpose, to see it caught

A seed means the same history as long as neither the code nor the simulation changes. The model of PostgreSQL
is held against the real one by tests/integration/test_simulated_database.py.
"""
