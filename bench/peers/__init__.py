"""What stands beside Curta in the scenario `peers`: other systems, each installed, started and asked.

`peer` lists them and how much each is given, `environment` installs them into places of their own,
`services` starts the Redis and the database that some need, `driver` is the process that one of them runs in,
`starting` puts these together. What runs under a peer's own interpreter is in `theirs`.
"""
