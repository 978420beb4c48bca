// How a peer's driver talks to the benchmark, for peers on Node: one line of JSON for each measurement that it is
// asked for. `turns.py` is the same for those in Python.

import { fork } from "node:child_process";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

/** Loads what is installed in the peer's own environment, which is not where these files are. */
export const load = createRequire(`${process.env.BENCH_PACKAGES}/`);

/** Which version of a package is installed there. */
export const version = (name) =>
  JSON.parse(readFileSync(`${process.env.BENCH_PACKAGES}/node_modules/${name}/package.json`, "utf8")).version;

/** Say what is measured, then measure whenever asked, until the end of standard input; then end the process.
 *  `measure` takes a shape and a number of tasks, and gives seconds by the peer's clock and from the submission on
 *  (`in_all_s`), and what was computed. */
export async function serve(about, measure) {
  say(about);
  for await (const line of createInterface({ input: process.stdin })) {
    const { shape, tasks } = JSON.parse(line);
    try {
      say(await measure(shape, tasks));
    } catch (error) {
      say({ error: String(error) });
    }
  }
  // The workers see that nobody is there any more, and end themselves.
  process.exit(0);
}

/** Whether this process is one of `workers(…)`. */
export const isWorker = process.argv[2] === "worker";

/** So many processes of the same file, each ready; `heard` gets what they send later. */
export async function workers(file, count, heard = () => {}) {
  await Promise.all(
    Array.from({ length: count }, () => {
      // What they print is not an answer.
      const child = fork(file, ["worker"], { stdio: ["ignore", 2, 2, "ipc"] });
      return new Promise((resolve, reject) => {
        child.once("exit", (code) => reject(new Error(`a worker ended with ${code}`)));
        child.once("message", () => {
          resolve();
          child.on("message", (message) => heard(child.pid, message));
        });
      });
    }),
  );
}

/** A worker says that it is ready; it ends when whoever started it has gone. */
export function ready() {
  process.on("disconnect", () => process.exit(0));
  process.send("ready");
}

/** Seconds since `began`, of performance.now(). */
export const since = (began) => (performance.now() - began) / 1000;

function say(answer) {
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
