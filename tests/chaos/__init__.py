"""A town of real processes in which everything that can break is broken at random while clients work in it.

faults      the plan: what breaks when, drawn from a seed
town        two orchestrators, ten agents, PostgreSQL, and proxies between them
breaking    performs the plan on the town
clients     fifty users who submit random expressions, retry, wait, cancel and submit again
witnesses   four of the ten agents, of our own, that write down every attempt they are handed
observer    reads the journal while it grows, on a connection that nothing breaks
verdict     what must hold at the end, and the report
run         one run from the first process to the verdict; `make chaos` and test_chaos.py call it
"""
