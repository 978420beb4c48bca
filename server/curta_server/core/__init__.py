"""The pure core: what is decided, without sockets, clocks, databases or arithmetic. Standard library only.

    text ─► expression ─► sharing ─► chains ─► numbering ─► plan ─► scheduler ◄── events
            parse         equal      + - and   by urgency   stored  which task
                          parts are  * / are                        goes where
                          one task   regrouped

Read `graph` first (how a task and its operands look in arrays), then `expression` and `plan`, which call the
stages in between. `events` and `scheduler` take it from there, with `execution` (one expression),
`allocation` (who is next), `hands` (whose attempt it is), `acks`, `liveness`, `arrivals` and `gate` (who is
there), `overdue` (who takes too long). Values are text to all of them; time comes in as an argument, effects
go out as return values.
"""
