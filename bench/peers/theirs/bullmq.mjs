// BullMQ flows on Redis: a tree or a chain of jobs, each of which waits for its children and adds what they gave.
// Two worker processes, as its guide recommends, each of a high concurrency.

import { fileURLToPath } from "node:url";

import { isWorker, load, ready, serve, since, version, workers } from "./turns.mjs";

const { FlowProducer, Queue, QueueEvents, Worker } = load("bullmq");

const QUEUE = "bench";
const WORKERS = 2;
const CONCURRENCY = 100;
const RESULT_MS = 110_000;

const connection = {
  host: "127.0.0.1",
  port: Number(process.env.BENCH_REDIS_PORT),
  maxRetriesPerRequest: null,
};

/** Additions of 1 … tasks+1 as a flow: a queue makes levels of a tree, a stack a chain. */
function flow(shape, tasks) {
  const row = Array.from({ length: tasks + 1 }, (_, index) => index + 1);
  let next = 0;
  while (row.length - next > 1) {
    const pair = [row[next], row[next + 1]];
    next += 2;
    const job = {
      name: "add",
      queueName: QUEUE,
      data: { literals: pair.filter((one) => typeof one === "number") },
      opts: { removeOnComplete: true },
      children: pair.filter((one) => typeof one !== "number"),
    };
    if (shape === "chain") row[--next] = job;
    else row.push(job);
  }
  return row[next];
}

async function add(job) {
  const { literals } = job.data;
  // Two literals are all there is to add: nobody has to be asked.
  const given = literals.length === 2 ? [] : Object.values(await job.getChildrenValues());
  return [...literals, ...given].reduce((sum, value) => sum + value, 0);
}

async function main() {
  await workers(fileURLToPath(import.meta.url), WORKERS);
  const queue = new Queue(QUEUE, { connection });
  const producer = new FlowProducer({ connection });
  const events = new QueueEvents(QUEUE, { connection });
  await events.waitUntilReady();
  const about = {
    durable: "Redis, append-only file synced once a second",
    dependencies: "yes, flows",
    clock: "start",
    settings: `${WORKERS} worker processes of concurrency ${CONCURRENCY}, completed jobs removed`,
    versions: {
      bullmq: version("bullmq"),
      redis: process.env.BENCH_REDIS_VERSION,
      node: process.versions.node,
    },
  };
  await serve(about, async (shape, tasks) => {
    await queue.pause();
    const submitted = performance.now();
    const { job } = await producer.add(flow(shape, tasks));
    const began = performance.now();
    await queue.resume();
    const value = await job.waitUntilFinished(events, RESULT_MS);
    return { seconds: since(began), in_all_s: since(submitted), value };
  });
}

if (isWorker) {
  const worker = new Worker(QUEUE, add, { connection, concurrency: CONCURRENCY });
  await worker.waitUntilReady();
  ready();
} else {
  await main();
}
