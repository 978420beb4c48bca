"""What agents and orchestrators say to each other: frames, their codec, and exact numbers.

One conversation, top to bottom:

    agent                                    orchestrator
      │ ── GET /agents/connect (bearer) ───────► │
      │ ── hello {agent, slots, held} ─────────► │
      │ ◄── welcome {heartbeat_s, keep, drop} ── │
      │ ◄── tasks {n: 1, tasks} ──────────────── │   never more than the free slots
      │ ── results {results} ──────────────────► │   dependents are released at once …
      │ ◄── tasks {n: 2, tasks} ──────────────── │
      │ ◄── ack {tasks} ──────────────────────── │   … the ack waits for the commit
      │ ── heartbeat {held, seen: 2} ──────────► │   every 2 s, every 5 s while idle
      │ ◄── ack {} ───────────────────────────── │
      │ ── bye ────────────────────────────────► │

Read `frames` first, then `codec`; `numbers` is what `value` and `operands` hold.
"""

PROTOCOL = 1
"""The protocol version that `hello` names."""

SUBPROTOCOL = "curta.agent.v1"
"""The WebSocket subprotocol of the agents' endpoint."""
