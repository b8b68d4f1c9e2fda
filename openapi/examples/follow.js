/**
 * Follow the positions of a Harbor API by its stream, and go on after each cut without losing one.
 * For browsers and for Node 18 or newer, as it is, with nothing but `fetch`. Copy it, or import it:
 *
 *     import { follow } from "./follow.js";
 *     await follow({ url: "https://harbor.example", key, onPosition: (item, cursor) => show(item) });
 *
 * Begins at `cursor`, or at `from`: "now" unless you say, or an RFC 3339 time. With `snapshot`, where
 * no cursor is given, the fleet comes first. `filters` are those of the fleet, `{ kind: ["cargo", "tanker"], bbox: [5, 58, 12, 60] }`; `maxRate` is
 * the least number of seconds between two positions of a vessel. The key goes into a header, never into the address.
 *
 * onHello, onVessel, onLive, onPosition, onHeartbeat and onBye are called with (data, cursor), one at a time, and
 * awaited. After a cut it goes on behind the last one that returned, so a program that runs on gets each item once.
 * One that ended passes the last `cursor` that it stored, and gets again what it did since it stored that one.
 * onReset({ reason, oldest, oldest_at }): what was before `oldest` is lost. Return a cursor to go on from there
 * (`oldest`, or that of a fleet that you have just read), `true` to begin anew as without a cursor, else it stops.
 * onState(state, { cursor, error, delay_s }): "connecting"; "open"; "quiet", a heartbeat is overdue; "silent", it
 * has been for so long that the connection is given up; "waiting" delay_s seconds, because of error if there is one.
 *
 * Returns the last cursor once `signal` aborts. Throws FollowError with status, code and cursor where trying again
 * cannot help: a key that does not hold, a wrong filter, a loss that onReset has not taken. What a callback throws
 * ends it, too, and is thrown as it is.
 */
export async function follow({ url = "", key, cursor, from, filters = {}, snapshot, maxRate, signal, fetch, ...on }) {
  let last = null, failures = 0;
  const say = (state, more) => on.onState?.(state, { cursor: last ?? cursor, ...more });
  while (!signal?.aborted) {
    const query = new URLSearchParams(Object.entries(filters).map(([name, value]) => [name, String(value)]));
    if (maxRate) query.set("max_rate", maxRate);
    if (last === null && !cursor && snapshot) query.set("snapshot", "true");
    if (last === null && (cursor || from)) query.set(cursor ? "cursor" : "from", cursor || from);
    const headers = { Accept: "text/event-stream", Authorization: `Bearer ${key}` };
    if (last !== null) headers["Last-Event-ID"] = last;
    say("connecting");
    const events = connection(`${url.replace(/\/$/, "")}/api/v1/positions/stream?${query}`, headers, { say, signal, fetch });
    let error, wait_s;
    try {
      for (;;) {
        const step = await events.next().catch((caught) => ({ done: true, caught }));
        error = step.caught;
        if (step.done) break;
        const { type, data, id, retry_s } = step.value;
        failures = 0;
        const answer = await on[`on${type.charAt(0).toUpperCase()}${type.slice(1)}`]?.(data, id);
        if (type === "reset") {
          if (typeof answer !== "string" && answer !== true)
            throw new FollowError(`what was before ${data.oldest_at} is lost`, { status: 410, code: data.reason, cursor: last ?? cursor });
          [last, cursor, from] = [null, answer === true ? null : answer, null];
        } else last = id || last;
        if (type === "bye") {
          if (/^key_(revoked|expired)$/.test(data.reason))
            throw new FollowError("the key does not hold any more", { status: 401, code: data.reason, cursor: last ?? cursor });
          wait_s = (data.reason === "rotation" ? 0 : retry_s) + Math.random();
        }
        if (signal?.aborted || type === "reset") break;
      }
    } finally {
      await events.return();
    }
    if (signal?.aborted) break;
    if (error?.final) throw Object.assign(error, { cursor: last ?? cursor });
    const delay_s = Math.max(error?.retry_after_s ?? 0, wait_s ?? Math.min(30, 2 ** failures++) * (0.5 + Math.random() / 2));
    say("waiting", { error, delay_s });
    await pause(delay_s, signal, error?.retry_after_s === undefined);
  }
  return last ?? cursor;
}

/** Why following ended or was cut: status and code of the answer where there was one. */
export class FollowError extends Error {
  constructor(message, about) {
    super(message);
    Object.assign(this, { name: "FollowError" }, about);
  }
}

/** The lines of text/event-stream as the HTML standard reads them, from bytes that are cut anywhere. */
export class EventParser {
  #decoder = new TextDecoder(); // drops a byte order mark
  #rest = "";
  #carriageReturn = false;
  #id = "";
  #type = "";
  #data = [];
  retry_s = 4;

  /** Return the events that these bytes complete: { type, data, id }; one without data has the type "". */
  push(bytes) {
    let text = this.#decoder.decode(bytes, { stream: true });
    if (text === "") return [];
    if (this.#carriageReturn && text[0] === "\n") text = text.slice(1);
    this.#carriageReturn = text.endsWith("\r");
    const lines = (this.#rest + text).split(/\r\n|\r|\n/);
    this.#rest = lines.pop();
    return lines.map((line) => this.#read(line)).filter(Boolean);
  }

  #read(line) {
    if (line === "") {
      const [type, data] = [this.#type || "message", this.#data];
      [this.#type, this.#data] = ["", []];
      return data.length ? { type, data: data.join("\n"), id: this.#id } : { type: "", data: null, id: this.#id };
    }
    const colon = line.includes(":") ? line.indexOf(":") : line.length;
    const field = line.slice(0, colon), value = line.slice(colon + 1).replace(/^ /, "");
    if (field === "event") this.#type = value;
    else if (field === "data") this.#data.push(value);
    else if (field === "id" && !value.includes("\0")) this.#id = value;
    else if (field === "retry" && /^[0-9]+$/.test(value)) this.retry_s = value / 1000;
    return null;
  }
}

/** Yield what one connection brings, a 410 as the reset that it is; throw FollowError where it is refused or falls silent. */
async function* connection(address, headers, { say, signal, fetch = globalThis.fetch }) {
  const parser = new EventParser(), cut = new AbortController();
  const abort = () => cut.abort();
  let heartbeat_s = 20, state = "connecting", since = Date.now(), silence;
  const watch = setInterval(() => {
    // By the clock: timers stand still while a machine sleeps. Time in which nobody reads is no silence.
    const silent_s = (Date.now() - (since ?? Date.now())) / 1000;
    if (silent_s < 0) since = Date.now();
    if (silent_s > 1.25 * heartbeat_s && state === "open") say((state = "quiet"));
    if (silent_s > 2.5 * heartbeat_s && !silence) {
      silence = new FollowError(`nothing came for ${Math.round(silent_s)} s`, { code: "silent" });
      say("silent", { error: silence });
      abort();
    }
  }, 250);
  signal?.addEventListener("abort", abort);
  try {
    const answer = await fetch(address, { headers, cache: "no-store", signal: cut.signal });
    if (answer.status !== 200) {
      const refusal = await refused(answer);
      if (answer.status !== 410) throw refusal;
      return yield { type: "reset", data: { reason: refusal.code, ...refusal.problem }, id: "" };
    }
    if (!/^text\/event-stream\b/i.test(answer.headers.get("Content-Type"))) throw new FollowError("this is no event stream");
    const reader = answer.body.getReader();
    for (;;) {
      since = Date.now();
      const { value, done } = await reader.read();
      since = null;
      if (done) return;
      if (state !== "open") say((state = "open"));
      for (const { type, data, id } of parser.push(value)) {
        const event = { type, data: data && JSON.parse(data), id, retry_s: parser.retry_s };
        if (type === "hello") heartbeat_s = event.data.heartbeat_s;
        yield event;
      }
    }
  } catch (error) {
    throw silence ?? error;
  } finally {
    clearInterval(watch);
    signal?.removeEventListener("abort", abort);
    abort();
  }
}

/** Return what an answer that is no stream says; `final` where the same request can never work. */
async function refused(answer) {
  const { status, headers } = answer;
  const problem = await answer.json().catch(() => ({}));
  const after = headers.get("Retry-After");
  const seconds = /^[0-9]+$/.test(after) ? Number(after) : (Date.parse(after) - Date.now()) / 1000;
  return new FollowError(`HTTP ${status}: ${problem.detail ?? answer.statusText}`, {
    status,
    code: problem.code,
    problem,
    final: status >= 400 && status < 500 && ![408, 410, 425, 429].includes(status),
    retry_after_s: after === null || Number.isNaN(seconds) ? undefined : Math.min(Math.max(seconds, 0), 86_400),
  });
}

/** Wait; whoever looks at the page again, or is online again, need not wait on unless the service asked for it. */
function pause(delay_s, signal, may_end_early) {
  return new Promise((resolve) => {
    const { document = new EventTarget() } = globalThis;
    const page = may_end_early && globalThis.addEventListener ? globalThis : new EventTarget();
    const seen = () => may_end_early && document.visibilityState === "visible" && end();
    const end = () => {
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", seen);
      page.removeEventListener("online", end);
      signal?.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, delay_s * 1000);
    document.addEventListener("visibilitychange", seen);
    page.addEventListener("online", end);
    signal?.addEventListener("abort", end);
    if (signal?.aborted) end();
  });
}
