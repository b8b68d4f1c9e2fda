// Follows as its second argument says, or as each line of its input does, one after another. Writes what it is told,
// a line of JSON each.
import { createInterface } from "node:readline";

const [, , client, options] = process.argv;
const { follow } = await import(client);
const write = (...told) => process.stdout.write(JSON.stringify(told) + "\n");

async function run({ afterLoss, throwAt, abortAt, ...given }) {
  const aborting = new AbortController();
  let positions = 0;
  const callbacks = { onReset: (data) => (write("reset", data, ""), { oldest: data.oldest, anew: true }[afterLoss]) };
  for (const name of ["Hello", "Vessel", "Live", "Position", "Heartbeat", "Bye"])
    callbacks[`on${name}`] = async (data, cursor) => {
      await null;
      if (name === "Position" && positions++ === throwAt) throw new Error("not handed on");
      write(name.toLowerCase(), data, cursor);
      if (name === "Position" && positions === abortAt) aborting.abort();
    };
  callbacks.onState = (state, { delay_s, cursor, error }) =>
    write("state", { state, delay_s, error: error?.message }, cursor);
  try {
    write("returned", null, await follow({ ...given, ...callbacks, signal: aborting.signal }));
  } catch (error) {
    write("raised", { message: error.message, status: error.status, code: error.code }, error.cursor);
  }
}

if (options) {
  await run(JSON.parse(options));
} else {
  // What it says that it waits is what is tested; waiting is not. Its pauses alone are cut short: fetch sets timers, too.
  const slowly = globalThis.setTimeout;
  globalThis.setTimeout = (done, ms, ...given) => slowly(done, done.name === "end" ? Math.min(ms, 20) : ms, ...given);
  for await (const line of createInterface({ input: process.stdin })) await run(JSON.parse(line));
}
