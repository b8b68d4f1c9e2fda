// Parses streams, one a line: JSON lists of chunks in base64 in, the events and the time of retry out.
import { createInterface } from "node:readline";

const { EventParser } = await import(process.argv[2]);
for await (const line of createInterface({ input: process.stdin })) {
  const parser = new EventParser();
  const events = JSON.parse(line).flatMap((chunk) => parser.push(Buffer.from(chunk, "base64")));
  console.log(JSON.stringify([events.map(({ type, data, id }) => [type, data ?? "", id]), parser.retry_s]));
}
