//! Rules about one job: canonical addresses, scope, robots, retry verdicts. Pure.
