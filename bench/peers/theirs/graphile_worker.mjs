// graphile-worker: jobs in PostgreSQL, added in one batch; two worker processes with batching on, as its page on
// performance has it. It knows no dependencies and keeps no results, so its jobs are independent.

import { fileURLToPath } from "node:url";

import { isWorker, load, ready, serve, since, version, workers } from "./turns.mjs";

const { Logger, makeWorkerUtils, run } = load("graphile-worker");
const { Pool } = load("pg");

const WORKERS = 2;
const CONCURRENCY = 24;
const LOCAL_QUEUE = 500;
const POLL_MS = 5;

// Where the database is says libpq's environment.
const logger = new Logger(() => () => {});

async function main() {
  const pool = new Pool();
  const utils = await makeWorkerUtils({ pgPool: pool, logger });
  await utils.migrate();
  await utils.release();
  const ran = new Map();
  await workers(fileURLToPath(import.meta.url), WORKERS, (worker, count) => ran.set(worker, count));
  const executed = () => [...ran.values()].reduce((sum, count) => sum + count, 0);
  const about = {
    durable: "PostgreSQL with fsync, completions committed in batches; no results",
    dependencies: "no: independent jobs",
    clock: "start",
    settings: `${WORKERS} worker processes of ${CONCURRENCY} jobs, local queue ${LOCAL_QUEUE}, completeJobBatchDelay 0`,
    versions: { "graphile-worker": version("graphile-worker"), node: process.versions.node },
  };
  await serve(about, async (_shape, tasks) => {
    const before = executed();
    const client = await pool.connect();
    try {
      // Nobody sees the jobs before the commit, which wakes the workers.
      const submitted = performance.now();
      await client.query("BEGIN");
      await client.query(
        `SELECT count(*) FROM graphile_worker.add_jobs(ARRAY(
           SELECT json_populate_record(NULL::graphile_worker.job_spec, json_build_object(
             'identifier', 'add', 'payload', json_build_object('left', number, 'right', number + 1)))
           FROM generate_series(1, $1::integer) number))`,
        [tasks],
      );
      const began = performance.now();
      await client.query("COMMIT");
      while (executed() - before < tasks) await pause();
      // They have run; now until that is committed, too.
      while ((await client.query("SELECT FROM graphile_worker._private_jobs LIMIT 1")).rowCount) await pause();
      return { seconds: since(began), in_all_s: since(submitted), value: executed() - before };
    } finally {
      client.release();
    }
  });
}

async function work() {
  let ran = 0;
  const add = async ({ left, right }) => {
    if (!Number.isInteger(left + right)) throw new Error("not a sum");
    ran += 1;
  };
  await run({
    taskList: { add },
    preset: {
      worker: {
        logger,
        concurrentJobs: CONCURRENCY,
        maxPoolSize: CONCURRENCY + 1,
        localQueue: { size: LOCAL_QUEUE },
        completeJobBatchDelay: 0,
        failJobBatchDelay: 0,
      },
    },
  });
  ready();
  let told = 0;
  setInterval(() => {
    if (ran !== told) process.send((told = ran));
  }, POLL_MS);
}

const pause = () => new Promise((resolve) => setTimeout(resolve, POLL_MS));

await (isWorker ? work() : main());
