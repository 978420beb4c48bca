"""The orchestrator: accepts expressions, plans them, hands their tasks to agents, keeps results in
PostgreSQL.

The way of the data:

    POST /expressions ─► api ─► planning ─► intake ─► table ─► 200 and an id
                                 │             │
                            core.expression    │ held in memory, or claimed from the table
                            core.plan          ▼
    agent ◄─ tasks ── outbox ◄── dispatcher ◄─ loader
      │                              │  ▲
      │                              ▼  │ events in, commands out
      │                          core.scheduler
      └─ results ─► agents ─► dispatcher ─► journal ─► table ─► ack, feed ─► waiting GETs

Read `core` first (it decides everything and does nothing), then `dispatcher` (it does what the core says),
`journal` and `loader` (how results become durable and expressions come back), `agents` and `outbox` (one
session), `api` (the routes), `leadership` (who may do all this), `peers` (how the others serve, too), and
`app`, which puts the parts together.
"""
