"""The fuzzing of the parser as a test: short in `make test`, millions in `make fuzz`."""

import os
import random

from tests.fuzz.fuzz_parser import run

EXAMPLES = 2_000_000 if os.environ.get("HYPOTHESIS_PROFILE") == "fuzz" else 20_000


def test_parser_and_planner_agree_with_the_reference_on_random_texts() -> None:
    done, accepted = run(EXAMPLES, float("inf"), random.SystemRandom().randrange(2**32))
    assert done == EXAMPLES
    assert accepted > done // 10
