"""`POST /expressions` by 50 clients at once, beside a bare route with one insert; and in batches.

No agent is connected, so nothing is computed meanwhile.
"""

import asyncio
import time
from typing import NamedTuple

from bench.client import Poster
from bench.pairs import order
from bench.report import Row
from bench.rig import Rig
from bench.sizes import Sizes
from bench.spread import percentile

CLIENTS = 50
BATCH = 1_000
BATCH_CLIENTS = 2


class Posted(NamedTuple):
    """Requests by several clients: what each took, and how many a second were answered."""

    took_s: list[float]
    per_second: float


async def measure(rig: Rig, sizes: Sizes) -> list[Row]:
    """The rate beside the route's, its slowest hundredth, and the rate in batches."""
    body = {"expression": "2+2*2"}
    ours: list[Posted] = []
    bare: list[Posted] = []
    async with rig.ceiling():
        for is_ours, _ in order(sizes.runs, is_warm=True):
            url = rig.url if is_ours else rig.ceiling_url
            poster = Poster(url, "/expressions", rig.admin_token, body)
            (ours if is_ours else bare).append(await _post(poster, CLIENTS, sizes.posting_s))
    items = [{"expression": f"{number}+2*2"} for number in range(BATCH)]
    batch = Poster(rig.url, "/expressions/batch", rig.admin_token, {"expressions": items})
    batches = [await _post(batch, BATCH_CLIENTS, sizes.posting_s) for _ in range(sizes.runs)]
    return [
        Row(
            f"POST /expressions, {CLIENTS} clients",
            "requests/s",
            [one.per_second for one in ours],
            "ratio ≥ 0.6",
            [one.per_second for one in bare],
            beside_name="bare Quart route, one insert",
        ),
        Row(
            "POST /expressions, p99",
            "ms",
            [percentile(one.took_s, 99) * 1000 for one in ours],
            "≤ 150 ms",
        ),
        Row(
            f"POST /expressions/batch of {BATCH:,}",
            "expressions/s",
            [BATCH * one.per_second for one in batches],
            "≥ 10,000/s",
        ),
    ]


async def _post(poster: Poster, clients: int, seconds: float) -> Posted:
    began = time.perf_counter()
    each = await asyncio.gather(*(poster.post_until(began + seconds) for _ in range(clients)))
    took_s = [took for one in each for took in one]
    return Posted(took_s, len(took_s) / (time.perf_counter() - began))
